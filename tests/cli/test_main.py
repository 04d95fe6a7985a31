"""Commands, and what they say when they are called wrongly."""

from __future__ import annotations

import contextlib
import sqlite3
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


def test_an_empty_folder_is_not_taken_for_the_store_that_the_database_refers_to(folder: Path) -> None:
    store = folder / "data" / "artifacts"
    assert run(folder, "migrate").returncode == 0
    marker = next(store.iterdir())
    with contextlib.closing(sqlite3.connect(folder / "data" / "agent-runners.db")) as database, database:
        # SQLite asks for the session that uses the file only where it is told to.
        database.execute(
            "INSERT INTO session_files (id, session_id, file_key, created_at) VALUES (?, ?, 'a/b', '2026-01-01')",
            ("0" * 32, "0" * 32),
        )
    assert run(folder, "migrate").returncode == 0
    marker.unlink()
    done = run(folder, "migrate")
    assert done.returncode == 1
    assert f"{store} is empty" in done.stderr and "is it mounted?" in done.stderr
    assert list(store.iterdir()) == []


def test_flower_never_runs_without_a_password(folder: Path) -> None:
    done = run(folder, "flower", FLOWER_AUTH="someone")
    assert done.returncode == 1
    assert "must be `user:password`" in done.stderr
