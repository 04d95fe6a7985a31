"""The demo, whole and in parts."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from app.cli.errors import CommandError
from app.cli.view import LINES_SHOWN, View
from app.client import Event
from app.demo.deployment import NO_SANDBOX, choose_sandbox
from app.demo.repository import clone
from tests.cli.processes import PROGRAM, environment, path_with_refused_bubblewrap, wait_for
from tests.ports import free_port
from tests.processes import each_process
from tests.program import run_program
from tests.workers.engine import SANDBOXES, USUAL_SANDBOX

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


# `tests/newcomer` shows the same with the command of the README.
@pytest.mark.full
@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_the_sample_shows_how_a_prompt_becomes_a_diff(folder: Path, sandbox: str) -> None:
    done = demo(folder, path=None if sandbox == "bubblewrap" else path_with_refused_bubblewrap(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Sandbox: {sandbox}" in done.stdout
    assert (NO_SANDBOX in unwrapped(done.stdout)) == (sandbox == "none")
    first, both = done.stdout.split("What both sessions changed")
    assert "Collecting TODO and FIXME notes" in first
    assert "+* `greeter/greet.py`, line 2: TODO: greet people in their own language" in first
    assert "+There are [2 notes](TODO.md)" in both and "+# To do" in both
    assert "/demo/sample/pull/1" in done.stdout and "It is not merged yet." in done.stdout
    assert "/api/v1/docs" in done.stdout and "bin/dev" in done.stdout
    assert "ar_" in done.stdout

    if sandbox == "none":
        # A second time, on what the first one left.
        done = demo(folder, "--unsafe-no-sandbox", "echo trying; exit 3")
        assert done.returncode == 1
        assert "trying" in done.stdout and "ERROR" in done.stdout
        assert "WARNING: AGENTS RUN WITHOUT A SANDBOX, because --unsafe-no-sandbox was given" in unwrapped(done.stdout)


# That the user's repository stays as it is, is shown by the clone, and that nothing is left by `tests/newcomer`.
@pytest.mark.full
@pytest.mark.parametrize("sandbox", USUAL_SANDBOX)
def test_a_demo_never_writes_to_the_users_repository_and_leaves_nothing_when_killed(
    folder: Path, theirs: Path, sandbox: str
) -> None:
    before = snapshot(theirs)
    arguments = ["--data-dir", str(folder / "demo"), "--port", str(free_port()), "--repo", str(theirs)]
    if sandbox == "none":
        arguments.append("--unsafe-no-sandbox")
    command = [*DEMO, *arguments, "echo 'print(1)' > new.py"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, env=environment(folder), stdout=log, stderr=log)
    wait_for("the end of the story", lambda: b"Press Ctrl-C to stop everything" in (folder / "log").read_bytes())
    shown = (folder / "log").read_text()
    assert "uncommitted changes" in shown and f"Sandbox: {sandbox}" in shown
    first, both = shown.split("What both sessions changed")
    assert "+print(1)" in first and "+# Files by kind" not in first
    assert "+print(1)" in both and "+# Files by kind" in both
    assert "/pull/1" in both and "It is not merged yet." in both
    assert "/api/v1/docs" in both and "bin/dev" in both and "/sign-in?code=ar_" in shown
    assert snapshot(theirs) == before
    process.kill()
    process.wait()
    wait_for("the end of all", lambda: not processes_of(folder))


def test_whoever_wants_no_sandbox_is_warned(folder: Path) -> None:
    said: list[str] = []
    assert choose_sandbox(folder, is_ours=False, unsafe=True, tell=said.append) == "none"
    assert "WITHOUT A SANDBOX, because --unsafe-no-sandbox was given" in unwrapped(said[0])


def test_a_users_script_runs_only_in_a_sandbox(folder: Path) -> None:
    variables = {**environment(folder), "PATH": path_with_refused_bubblewrap(folder)}
    done = run_program(["demo", "--once", "--data-dir", str(folder / "demo"), "true"], variables)
    assert done.returncode == 1
    assert (
        "bubblewrap 0.9.0" in done.stderr
        and "does not work here" in done.stderr
        and "--unsafe-no-sandbox" in done.stderr
    )


def test_a_clone_leaves_the_original_as_it_is_and_follows_it(folder: Path, theirs: Path) -> None:
    before = snapshot(theirs)
    first = clone(theirs, folder)
    assert snapshot(theirs) == before
    git(theirs, "-c", "user.name=They", "-c", "user.email=they@example.org", "commit", "--quiet", "-am", "second")
    again = clone(theirs, folder)
    assert (again, again.branch) == (first, "trunk")
    assert git(again.path, "log", "--format=%s", "trunk").split() == ["second", "first"]


def test_a_repository_that_cannot_be_cloned_is_reported(folder: Path, theirs: Path) -> None:
    with pytest.raises(CommandError, match="there is no folder"):
        clone(folder / "nowhere", folder)
    with pytest.raises(CommandError, match="not a git repository"):
        clone(folder, folder)
    git(theirs, "checkout", "--quiet", "--detach")
    with pytest.raises(CommandError, match="is not on a branch"):
        clone(theirs, folder)


def test_output_of_the_demo_cannot_control_the_terminal() -> None:
    view, hidden = View(), "\x1b]0;gotcha\x07\u202e\u200b"
    view.console = Console(file=io.StringIO(), width=80)
    view.say(hidden)
    view.heading(hidden)
    view.steps([Event("step", None, {"title": hidden, "message": f"{hidden}\n{hidden}"})])
    view.diff(f"+{hidden}\n".encode())
    shown = view.console.file.getvalue()
    assert shown.count("gotcha") >= 5 and not set("\x1b\x07\u202e\u200b") & set(shown)


def test_only_the_beginning_of_a_long_diff_is_shown() -> None:
    view = View()
    view.console = Console(file=io.StringIO(), width=80)
    view.diff(b"+line\n" * (LINES_SHOWN + 5))
    assert view.console.file.getvalue().splitlines()[-1] == "... and 5 more lines"


def demo(folder: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [*DEMO, "--once", "--data-dir", str(folder / "demo"), "--port", str(free_port()), *arguments]
    variables = {**environment(folder), **({"PATH": path} if path else {})}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)


def unwrapped(text: str) -> str:
    return " ".join(text.split())


def git(path: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=path, check=True, capture_output=True, text=True).stdout


def snapshot(path: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below `path`, with contents and times of change."""
    return {
        str(file): (file.stat().st_mtime_ns, file.read_bytes() if file.is_file() else b"") for file in path.rglob("*")
    }


def processes_of(folder: Path) -> list[str]:
    """Command lines of live processes that were given a folder below `folder`."""
    ours = {process for process, environ in each_process("environ") if bytes(folder) in environ}
    return [line.decode().replace("\0", " ") for process, line in each_process("cmdline") if process in ours]
