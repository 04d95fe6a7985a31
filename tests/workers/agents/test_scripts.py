"""What a script that fails says about where it failed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.workers.attempts import engine_in
from workers.agents import script
from workers.job import Limits
from workers.limits.budget import Budget
from workers.limits.command import running
from workers.processes.launch import Launch
from workers.processes.lifeline import Lifeline

tells_lines = pytest.mark.skipif(
    os.path.basename(os.path.realpath("/bin/sh")) not in ("dash", "busybox"),
    reason="NOT TESTED: this machine's sh does not read whole lines from a pipe; run it where sh is dash",
)


def run(
    folder: Path, text: str, given: bytes = b"", shell: str = "/bin/sh", search: str | None = None
) -> tuple[int, list[str], list[str]]:
    """The exit status of a script, and what it wrote to standard output and to standard error."""
    path = folder / "script.sh"
    path.unlink(missing_ok=True)
    path.write_text(text)
    environment = {"PATH": search or os.environ["PATH"]}
    launch = Launch(script.command(str(path), given, shell), environment, str(folder))
    budget, stdin = Budget(Limits(max_duration_seconds=300)), script.stdin(text.encode(), given, shell)
    with running(launch, lifeline=Lifeline(300), budget=budget, stage="agent", stdin=stdin) as process:
        lines = [line for line in process.lines() if line]
    assert process.status is not None
    out, err = ([line.text for line in lines if line.stream == stream] for stream in ("out", "err"))
    return process.status, out, err


@tells_lines
@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("echo one\n\nfalse\necho two\n", 1, "[exit status 1 at line 3 of the script: false]"),
        ("f() {\n  false\n}\n# now\nf\n", 1, "[exit status 1 at line 5 of the script: f]"),
        (
            "true\nif true; then\n  ( exit 7 )\nfi\necho no",
            7,
            "[exit status 7 at lines 2 to 4 of the script: if true; then]",
        ),
        (
            "cat <<X >notes\na\nX\ntest -e \\\n  nothing\n",
            1,
            "[exit status 1 at lines 4 to 5 of the script: test -e \\]",
        ),
        (
            "cat <<'X' | grep -q nothing\na\n" + "b\n" * 50 + "X\necho no\n",
            1,
            "[exit status 1 at lines 1 to 53 of the script: cat <<'X' | grep -q nothing]",
        ),
        (
            "cat >/dev/null <<X\na\nX\nif true; then\n  cat <<-X | grep -q nothing\n\ta\n\tX\nfi\n",
            1,
            "[exit status 1 at lines 4 to 8 of the script: if true; then]",
        ),
        ("exec >/dev/null 2>&1\nx=$(false)", 1, "[exit status 1 at line 2 of the script: x=$(false)]"),
        ("kill -9 $$\n", 137, "[exit status 137 at line 1 of the script: kill -9 $$]"),
        (
            "x=1 # " + "y" * 9000 + "\n" + ":\n" * 2000 + "exit 4\n",
            4,
            "[exit status 4 at line 2002 of the script: exit 4]",
        ),
    ],
)
def test_a_script_that_fails_names_the_line_and_the_command(tmp_path: Path, text: str, status: int, said: str) -> None:
    ended, _, heard = run(tmp_path, text)
    assert (ended, heard) == (status, [said])


def test_a_script_keeps_its_name_and_its_standard_input(tmp_path: Path) -> None:
    text = 'read x || echo nothing\necho "$0 $x"\nno-program || true\nwc -c\ntrap "echo end" EXIT\n'
    for given, said in ((b"", ["nothing", "{} ", "0"]), (b"words\n" + b"x" * 10_000, ["{} words", "10000"])):
        status, out, err = run(tmp_path, text, given)
        assert (status, out) == (0, [*(each.format(f"{tmp_path}/script.sh") for each in said), "end"])
        assert len(err) == 1 and err[0].startswith(f"{tmp_path}/script.sh: ") and "no-program" in err[0]
    assert run(tmp_path, "") == (0, [], [])


@tells_lines
def test_a_script_with_standard_input_names_the_line_as_well(tmp_path: Path) -> None:
    said = "[exit status 1 at line 2 of the script: grep -q nothing]"
    assert run(tmp_path, "read x\ngrep -q nothing\necho no\n", b"words\n" * 2000) == (1, [], [said])


@tells_lines
def test_a_path_without_the_system_programs_changes_no_report(tmp_path: Path) -> None:
    said = "[exit status 127 at line 2 of the script: grep words]"
    for given in (b"", b"words\n"):
        status, _, err = run(tmp_path, "echo one\ngrep words\necho no\n", given, search="/nonexistent")
        assert (status, err[-1]) == (127, said)


def test_long_lines_arrive_whole(tmp_path: Path) -> None:
    """Not every shell reads 4,096 bytes at once, and of a packet only what is read at once arrives."""
    words = [str(number) * 1500 for number in range(1, 6)]
    text = "".join(f"echo {word}\n" for word in words)
    assert run(tmp_path, text + "cat\n", b"x" * 2000 + b"\n") == (0, [*words, "x" * 2000], [])


def test_a_shell_that_cannot_be_followed_runs_the_script_all_the_same(tmp_path: Path) -> None:
    shell = shutil.which("bash") or pytest.skip("NOT TESTED: there is no bash; install it")
    assert run(tmp_path, "echo one\nfalse\necho two\n", shell=shell) == (1, ["one"], [])


@tells_lines
def test_prompts_and_setup_commands_say_where_they_failed(tmp_path: Path) -> None:
    with engine_in(tmp_path, "none") as engine:
        prompt = engine.run("echo begun\ntest -e nothing\n").outcome.failure
        setup = engine.run("true", setup_command="true\nmake-it\n").outcome.failure
    assert prompt and prompt.code == "agent_failed" and "sh -e" in prompt.message
    assert prompt.message.endswith("begun\n[exit status 1 at line 2 of the script: test -e nothing]")
    assert setup and setup.code == "setup_failed" and "sh -e" in setup.message
    assert setup.message.endswith("[exit status 127 at line 2 of the script: make-it]")
