"""Start runs at certain times."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.client import Client
from tests.cli.remote.conftest import Run

pytestmark = pytest.mark.same_on_both_databases


def test_a_schedule_is_added_listed_stopped_run_and_removed(run: Run, client: Client, site: dict[str, Any]) -> None:
    added = run("schedules", "add", "shop", "0 9 * * MON", "Update\nthings", "--agent", "codex", "--overlap", "queue")
    assert added.status == 0 and "Its next times are 20" in added.stderr
    schedule = added.stdout.strip()
    [line] = run("schedules", "list", "shop").stdout.splitlines()
    assert line.split("\t")[:3] == [schedule, "0 9 * * MON", "UTC"] and line.endswith("Update")
    assert json.loads(run("schedules", "list", "shop", "--json").stdout)[0]["overlap"] == "queue"

    assert run("schedules", "stop", "shop", schedule).status == 0
    assert "\tstopped\t" in run("schedules", "list", site["id"]).stdout
    assert run("schedules", "start", "shop", schedule).status == 0
    runner = run("schedules", "run", "shop", schedule).stdout.strip()
    assert client.get_runner(runner)["title"] == "Update"
    assert run("schedules", "remove", "shop", schedule).status == 0
    assert run("schedules", "list", "shop").stdout == ""


def test_a_wrong_expression_is_explained(run: Run, site: dict[str, Any]) -> None:
    refused = run("schedules", "add", "shop", "daily", "Update things")
    assert refused.status == 1 and "five fields" in refused.stderr and refused.stdout == ""
    assert "0 sites are named 'shoop'" in run("schedules", "list", "shoop").stderr
