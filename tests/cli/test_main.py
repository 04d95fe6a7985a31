"""Commands, and their errors when they are called wrongly."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

from app.cli.errors import ExitStatus
from app.cli.main import COMMANDS, main
from tests.cli.processes import PROGRAM, environment, run


def test_without_a_command_all_are_listed(folder: Path) -> None:
    done = run(folder)
    assert done.returncode == ExitStatus.USAGE
    assert all(name in done.stderr for name in COMMANDS)


def test_an_unknown_command_is_named(folder: Path) -> None:
    done = run(folder, "dance")
    assert done.returncode == ExitStatus.USAGE
    assert "No such command 'dance'" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--help"], pytest.param(["doctor", "--help"], marks=pytest.mark.full), ["token", "list"]],
    ids=" ".join,
)
def test_output_that_nobody_reads_to_its_end_is_no_failure_of_the_command(
    initialized: Path, arguments: list[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [PROGRAM, *arguments], stdout=closed, stderr=subprocess.PIPE, env=environment(initialized), text=True
        )
    assert (done.returncode, done.stderr) == (ExitStatus.CLOSED, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main([name, "--help"]) == 0
    assert f"Usage: agent-runners {name}" in capsys.readouterr().out


def test_an_unknown_setting_is_refused_with_the_nearest_that_exists(folder: Path) -> None:
    done = run(folder, "migrate", WEB_PROT="1")
    assert done.returncode == 1
    assert "AGENT_RUNNERS_WEB_PROT is not a setting. Did you mean AGENT_RUNNERS_WEB_PORT?" in done.stderr


def test_a_setting_of_the_wrong_kind_is_refused_in_one_line(folder: Path) -> None:
    done = run(folder, "migrate", WEB_PORT="many")
    assert done.returncode == 1
    wanted = "agent-runners migrate: AGENT_RUNNERS_WEB_PORT must be a whole number, such as 8750; it is 'many'"
    assert done.stderr.splitlines() == [wanted]


@pytest.mark.parametrize("url", ["", "postgresql://ada:correct-horse@127.0.0.1:1/there?connect_timeout=2"])
def test_a_database_without_tables_or_an_answer_is_explained_in_one_line(folder: Path, url: str) -> None:
    (folder / "data").mkdir()
    done = run(folder, "token", "list", DATABASE_URL=url)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "the database failed" in done.stderr and "agent-runners migrate" in done.stderr
    assert "correct-horse" not in done.stderr


def test_an_empty_folder_is_not_taken_for_the_store_that_the_database_refers_to(migrated: Path) -> None:
    store = migrated / "data" / "artifacts"
    marker = next(store.iterdir())
    with contextlib.closing(sqlite3.connect(migrated / "data" / "agent-runners.db")) as database, database:
        # SQLite asks for the session that uses the file only where it is asked to.
        database.execute(
            "INSERT INTO session_files (id, session_id, file_key, created_at) VALUES (?, ?, 'a/b', '2026-01-01')",
            ("0" * 32, "0" * 32),
        )
    assert run(migrated, "migrate").returncode == 0
    marker.unlink()
    done = run(migrated, "migrate")
    assert done.returncode == 1
    assert f"{store} is empty" in done.stderr and "Mount its disk" in done.stderr
    assert list(store.iterdir()) == []


@pytest.mark.parametrize("name", ["web", "flower"])
def test_a_port_that_is_taken_is_named_with_the_setting_that_changes_it(folder: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(folder, name, **{f"{name.upper()}_PORT": port})
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr and f"AGENT_RUNNERS_{name.upper()}_PORT" in done.stderr
