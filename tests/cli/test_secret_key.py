"""Processes that start with another secret key than the one before."""

from __future__ import annotations

from pathlib import Path

from tests.cli.processes import finding, run

OTHER_KEY = "another key for tests, which is long enough"


def test_a_process_with_another_secret_key_refuses_to_start(migrated: Path) -> None:
    assert run(migrated, "key", "check").returncode == 0
    for command in (["web"], ["worker", "control"], ["up"], ["key", "check"]):
        done = run(migrated, *command, SECRET_KEY=OTHER_KEY)
        assert done.returncode == 1
        assert "have another secret key" in done.stderr and "AGENT_RUNNERS_SECRET_KEY" in done.stderr
        assert "Traceback" not in done.stderr and OTHER_KEY not in done.stderr
    assert finding(migrated, "secret key", SECRET_KEY=OTHER_KEY)["state"] == "failing"
    assert run(migrated, "key", "accept", SECRET_KEY=OTHER_KEY).returncode == 0
    assert finding(migrated, "secret key", SECRET_KEY=OTHER_KEY)["state"] == "working"
