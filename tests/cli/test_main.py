"""Commands, and what they say when they are called wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.main import COMMANDS
from tests.cli.processes import run


def test_without_a_command_all_are_listed(folder: Path) -> None:
    done = run(folder)
    assert done.returncode == 2
    assert all(name in done.stderr for name in COMMANDS)


def test_an_unknown_command_is_named(folder: Path) -> None:
    done = run(folder, "dance")
    assert done.returncode == 2
    assert "there is no command 'dance'" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(folder: Path, name: str) -> None:
    done = run(folder, name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: agent-runners {name}" in done.stdout


def test_an_unknown_setting_is_refused(folder: Path) -> None:
    done = run(folder, "migrate", WEB_PROT="1")
    assert done.returncode == 1
    assert "AGENT_RUNNERS_WEB_PROT is no setting; docs/settings.md lists them" in done.stderr


def test_a_setting_of_the_wrong_kind_is_refused(folder: Path) -> None:
    done = run(folder, "migrate", WEB_PORT="many")
    assert done.returncode == 1
    assert "AGENT_RUNNERS_WEB_PORT='many'" in done.stderr


def test_flower_never_runs_without_a_password(folder: Path) -> None:
    done = run(folder, "flower", FLOWER_AUTH="someone")
    assert done.returncode == 1
    assert "must be `user:password`" in done.stderr
