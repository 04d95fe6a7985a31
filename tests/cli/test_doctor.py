"""`agent-runners doctor` and the start of a worker: each part that does not work is named, with what mends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.processes import run


def findings(folder: Path, **settings: str) -> dict[str, dict[str, Any]]:
    """What doctor says of each part."""
    done = run(folder, "doctor", "--json", **settings)
    assert not done.stderr, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == any(each["state"] == "missing" and "agent" not in each["part"] for each in found)
    return {each["part"]: each for each in found}


def test_on_a_new_machine_it_names_what_is_missing_and_a_remedy_for_each(folder: Path) -> None:
    found = findings(folder)
    assert {found[part]["state"] for part in ("git", "data folder", "artifact store")} == {"working"}
    for part, remedy in {
        "database": "agent-runners migrate",
        "broker": "agent-runners broker",
        "workers": "broker first",
        "sweep": "database first",
    }.items():
        assert found[part]["state"] == "missing" and remedy in found[part]["remedy"], found[part]


def test_the_table_shows_what_is_told_as_it_is(folder: Path) -> None:
    done = run(folder, "doctor", EGRESS_HOSTS="[::1]:b:c")
    assert "AGENT_RUNNERS_EGRESS_HOSTS" in done.stdout and "[::1]:b:c" in done.stdout and done.returncode == 1


def test_a_database_that_does_not_answer_is_told_without_its_password(folder: Path) -> None:
    found = findings(folder, DATABASE_URL="postgresql://ada:correct-horse@127.0.0.1:1/there?connect_timeout=2")
    assert found["database"]["state"] == "missing" and "AGENT_RUNNERS_DATABASE_URL" in found["database"]["remedy"]
    assert "correct-horse" not in json.dumps(found)


@pytest.mark.parametrize(
    ("name", "value"), [("EGRESS_HOSTS", "pypi.org,a:b:c"), ("SANDBOX", "jail"), ("LEASE_SECONDS", "soon")]
)
def test_a_setting_that_cannot_be_ends_a_worker_at_its_start(folder: Path, name: str, value: str) -> None:
    done = run(folder, "worker", "sessions", **{name: value})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("agent-runners") and f"AGENT_RUNNERS_{name}" in done.stderr
    assert "Traceback" not in done.stderr
