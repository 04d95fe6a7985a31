"""What a script that fails says about where it failed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.workers.attempts import engine_in
from workers.agents import script

tells_lines = pytest.mark.skipif(
    os.path.basename(os.path.realpath(shutil.which("sh") or "")) not in ("dash", "busybox"),
    reason="NOT TESTED: this machine's sh does not read whole lines from a pipe; run it where sh is dash",
)


def run(folder: Path, text: str, stdin: str = "") -> tuple[int, str, str]:
    path = folder / "script.sh"
    path.unlink(missing_ok=True)
    path.write_text(text)
    done = subprocess.run(
        script.command(str(path)), cwd=folder, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr.strip()


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
    assert (ended, heard) == (status, said)


def test_a_script_keeps_its_name_and_its_standard_input(tmp_path: Path) -> None:
    assert run(tmp_path, 'read x\necho "$0 $x"\ntrap "echo end" EXIT\n', "words\n") == (
        0,
        f"{tmp_path}/script.sh words\nend\n",
        "",
    )
    assert run(tmp_path, "") == (0, "", "")


def test_a_shell_that_cannot_be_followed_runs_the_script_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sh").symlink_to(shutil.which("bash") or pytest.skip("NOT TESTED: there is no bash; install it"))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert run(tmp_path, "echo one\nfalse\necho two\n") == (1, "one\n", "")


@tells_lines
def test_prompts_and_setup_commands_say_where_they_failed(tmp_path: Path) -> None:
    with engine_in(tmp_path, "none") as engine:
        prompt = engine.run("echo begun\ntest -e nothing\n").outcome.failure
        setup = engine.run("true", setup_command="true\nmake-it\n").outcome.failure
    assert prompt and prompt.code == "agent_failed" and "sh -e" in prompt.message
    assert prompt.message.endswith("begun\n[exit status 1 at line 2 of the script: test -e nothing]")
    assert setup and setup.code == "setup_failed" and "sh -e" in setup.message
    assert setup.message.endswith("[exit status 127 at line 2 of the script: make-it]")
