"""`agent-runners up`: what it says of a process that ends, and of a Procfile. `tests/e2e/test_up.py` has whole deployments."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.processes import run


def test_a_process_that_ends_by_itself_is_named_with_its_last_line(migrated: Path) -> None:
    (migrated / "Procfile").write_text("one: sh -c 'echo the port is in use; exit 3'")
    done = run(migrated, "up", "--procfile", str(migrated / "Procfile"))
    assert done.returncode == 1
    wanted = "agent-runners up: stopped, because one ended. Its last line was: the port is in use"
    assert done.stderr.splitlines()[-1] == wanted, done.stderr


@pytest.mark.parametrize(
    ("text", "reason"), [(None, "No such file or directory"), ("", "has no processes"), ("# web", "has no processes")]
)
def test_a_procfile_that_cannot_be_used_is_refused(folder: Path, text: str | None, reason: str) -> None:
    if text is not None:
        (folder / "Procfile").write_text(text)
    done = run(folder, "up", "--procfile", str(folder / "Procfile"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"agent-runners up: {folder / 'Procfile'}") and reason in done.stderr


def test_a_process_can_be_left_out(migrated: Path) -> None:
    (migrated / "Procfile").write_text("one: true\ntwo: true")
    done = run(migrated, "up", "--procfile", str(migrated / "Procfile"), "--without", "three")
    assert done.returncode == 1 and "has no process three. It has: one, two" in done.stderr
    done = run(migrated, "up", "--procfile", str(migrated / "Procfile"), "--without", "one")
    assert "two started" in done.stdout and "one started" not in done.stdout
