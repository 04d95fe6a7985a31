"""Variables and secrets on the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.remote.conftest import Run

pytestmark = pytest.mark.same_on_both_databases


@pytest.mark.parametrize("where", [(), ("--site", "shop")], ids=["account", "site"])
def test_a_secret_comes_from_standard_input_and_is_never_shown(
    run: Run, site: dict[str, Any], where: tuple[str, ...]
) -> None:
    first = run("variables", "set", "NPM_TOKEN", *where, "--stage", "setup", stdin="correct-horse\n")
    assert (first.status, first.stdout) == (0, ""), first.stderr
    assert run("variables", "set", "MODE", *where, "--public", stdin="fast").status == 0
    listed = [line.split("\t")[:3] for line in run("variables", "list", *where).stdout.splitlines()]
    assert listed == [["NPM_TOKEN", "setup", "(secret)"], ["MODE", "agent", "fast"]]

    again = run("variables", "set", "NPM_TOKEN", *where, "--json", stdin="-----BEGIN-----\nkey\n-----END-----\n")
    made = json.loads(again.stdout)
    assert (made["version"], made["stage"], made["value"]) == (2, "setup", None)
    assert run("variables", "remove", "NPM_TOKEN", *where).status == 0
    assert run("variables", "list", *where).stdout.count("\n") == 1
    missing = run("variables", "remove", "NPM_TOKEN", *where)
    assert missing.status == 1 and "no variable NPM_TOKEN" in missing.stderr


def test_a_name_that_is_reserved_is_explained(run: Run, site: dict[str, Any]) -> None:
    refused = run("variables", "set", "PATH", "--site", "shop", stdin="/opt/bin:/usr/bin")
    assert refused.status == 1 and "PATH is set by the sandbox. Use another name" in refused.stderr
