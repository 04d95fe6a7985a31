"""Somebody without any server gives a prompt to an agent: `agent-runners run --local`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.deployment import PROGRAM, git
from tests.ports import free_port


class Shell:
    """A shell in a checkout, with a home of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        (folder / "run").mkdir(mode=0o700)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_RUNNERS_")}
        given = {"WEB_PORT": str(free_port()), "WEB_PROCESSES": "1", "SANDBOX": "none", "MIRROR_REFRESH_SECONDS": "0"}
        mine = {f"AGENT_RUNNERS_{name}": value for name, value in {**given, **settings}.items()}
        folders = {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_RUNTIME_DIR": str(folder / "run")}
        self.environment = {**clean, **folders, **mine}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.folder / "checkout",
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def stop(self) -> None:
        """As we say it can be stopped."""
        for lock in (self.folder / "config").rglob("up.lock"):
            started = psutil.Process(int(lock.read_text()))
            started.terminate()
            started.wait(100)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "origin").mkdir()
    (tmp_path / "origin" / "a.txt").write_text("a\n")
    git(tmp_path / "origin", "init", "--quiet", "--initial-branch=main")
    git(tmp_path / "origin", "add", "--all")
    git(tmp_path / "origin", "commit", "--quiet", "--message=First")
    git(tmp_path, "clone", "--quiet", "origin", "checkout")
    yield (opened := Shell(tmp_path, LOCAL_REPOSITORIES=str(tmp_path)))
    opened.stop()


@pytest.mark.full  # It starts everything, which takes a quarter of a minute of a processor.
def test_a_run_starts_what_it_needs_and_later_commands_find_it(shell: Shell) -> None:
    first = shell.run("run", "--local", "--agent", "shell", "--apply", "echo b > a.txt")
    assert first.returncode == 0, first.stdout + first.stderr
    assert (shell.folder / "checkout" / "a.txt").read_text() == "b\n"
    assert "Starting a deployment in" in first.stderr and "To stop it: kill " in first.stderr

    again = shell.run("run", "--local", "--agent", "shell", "--detach", "true")
    assert again.returncode == 0 and "Starting" not in again.stderr and "To stop it: kill " in again.stderr
    listed = shell.run("list")
    assert len(listed.stdout.splitlines()) == 2, listed.stderr
