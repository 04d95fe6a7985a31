"""Budgets on the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.remote.conftest import Run

pytestmark = pytest.mark.same_on_both_databases


def test_budgets_are_set_listed_and_removed(run: Run, site: dict[str, Any]) -> None:
    assert run("budgets", "set", "--cost", "200").status == 0
    assert run("budgets", "set", "--site", "shop", "--per", "day", "--tokens", "1000").status == 0
    made = json.loads(run("budgets", "set", "--cost", "250.5", "--json").stdout)
    assert (made["max_cost_usd"], made["period"], made["site_id"]) == (250.5, "month", None)
    first, second = (line.split("\t") for line in run("budgets", "list").stdout.splitlines())
    assert first[:4] == ["(all sites)", "month", "$0 of $250.5", "0"]
    assert second[:4] == ["shop", "day", "$0", "0 of 1,000"]
    assert run("budgets", "remove", second[5]).status == 0
    assert run("budgets", "list").stdout.count("\n") == 1
