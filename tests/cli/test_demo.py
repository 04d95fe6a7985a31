"""The demo, whole and in parts."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from app.cli import demo_repository
from app.cli.demo_view import LINES_SHOWN, View, readable
from app.cli.errors import CommandError
from tests.cli.processes import PROGRAM, environment, free_port, wait_for

DEMO = (PROGRAM, "demo")


@pytest.fixture
def theirs(folder: Path) -> Path:
    """A repository of the user's, on a branch of theirs and with a change that is not committed."""
    path = folder / "their shop"
    path.mkdir()
    (path / "notes.py").write_text("# TODO: sell things\n")
    git(path, "init", "--quiet", "--initial-branch=trunk")
    git(path, "add", "--all")
    git(path, "-c", "user.name=They", "-c", "user.email=they@example.org", "commit", "--quiet", "--message=first")
    (path / "notes.py").write_text("# TODO: sell more things\n")
    return path


def test_a_prompt_becomes_a_diff_and_a_failure_is_told(folder: Path) -> None:
    done = demo(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    first, both = done.stdout.split("What both changed")
    assert "Collecting TODO and FIXME notes" in first
    assert "+* `greeter/greet.py`, line 2: TODO: greet in the language" in first
    assert "+There are [2 notes](TODO.md)" in both and "+# To do" in both
    assert "/demo/sample/pull/1" in done.stdout and "nothing has been merged" in done.stdout
    assert "/api/v1/docs" in done.stdout and "bin/dev" in done.stdout
    assert "ar_" in done.stdout

    # A second time, on what the first one left.
    done = demo(folder, "echo trying; exit 3")
    assert done.returncode == 1
    assert "trying" in done.stdout and "ERROR" in done.stdout


def test_a_repository_of_the_users_is_never_written(folder: Path, theirs: Path) -> None:
    before = snapshot(theirs)
    done = demo(folder, "--repo", str(theirs), "echo 'print(1)' > new.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changes that are not committed" in done.stdout
    assert "+print(1)" in done.stdout and "+# Files by kind" in done.stdout
    assert snapshot(theirs) == before


def test_nothing_outlives_a_killed_demo(folder: Path) -> None:
    command = [
        *DEMO,
        "--data-dir",
        str(folder / "demo"),
        "--port",
        str(free_port()),
        "--unsafe-no-sandbox",
        "sleep 300",
    ]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, env=environment(folder), stdout=log, stderr=log)
    wait_for("the session", lambda: b"RUNNING" in (folder / "log").read_bytes())
    process.kill()
    process.wait()
    wait_for("the end of all", lambda: not processes_of(folder))


def test_the_script_of_a_user_runs_in_a_sandbox_or_not_at_all(folder: Path) -> None:
    tools = folder / "tools"
    tools.mkdir()
    for tool in ("git", "setpriv"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    command = [*DEMO, "--once", "--data-dir", str(folder / "demo"), "true"]
    done = subprocess.run(
        command, env={**environment(folder), "PATH": str(tools)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "bubblewrap is not installed" in done.stderr and "--unsafe-no-sandbox" in done.stderr


def test_a_clone_follows_the_original(folder: Path, theirs: Path) -> None:
    first = demo_repository.clone(theirs, folder)
    git(theirs, "-c", "user.name=They", "-c", "user.email=they@example.org", "commit", "--quiet", "-am", "second")
    again = demo_repository.clone(theirs, folder)
    assert (again, again.branch) == (first, "trunk")
    assert git(again.path, "log", "--format=%s", "trunk").split() == ["second", "first"]


def test_what_cannot_be_cloned_is_told(folder: Path, theirs: Path) -> None:
    with pytest.raises(CommandError, match="there is no folder"):
        demo_repository.clone(folder / "nowhere", folder)
    with pytest.raises(CommandError, match="not a git repository"):
        demo_repository.clone(folder, folder)
    git(theirs, "checkout", "--quiet", "--detach")
    with pytest.raises(CommandError, match="is on no branch"):
        demo_repository.clone(theirs, folder)


def test_text_of_agents_cannot_steer_the_terminal() -> None:
    assert readable("a\x1b]0;gotcha\x07\r\tb\n") == "a\\x1b]0;gotcha\\x07\\r\tb\n"


def test_of_a_long_diff_the_beginning_is_shown() -> None:
    view = View()
    view.console = Console(file=io.StringIO(), width=80)
    view.diff(b"+line\n" * (LINES_SHOWN + 5))
    assert view.console.file.getvalue().splitlines()[-1] == "... and 5 more lines"


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*DEMO, "--once", "--data-dir", str(folder / "demo"), "--port", str(free_port()), *arguments]
    return subprocess.run(command, env=environment(folder), capture_output=True, text=True, timeout=90)


def git(path: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=path, check=True, capture_output=True, text=True).stdout


def snapshot(path: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below `path`, with contents and times of change."""
    return {
        str(file): (file.stat().st_mtime_ns, file.read_bytes() if file.is_file() else b"") for file in path.rglob("*")
    }


def processes_of(folder: Path) -> list[str]:
    """Command lines of live processes that were given a folder below `folder`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if bytes(folder) in file.read_bytes():
                found.append(file.with_name("cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found
