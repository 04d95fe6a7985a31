"""What a setup command left is used again in later sessions, in overlays and in whole checkouts, and the diffs stay the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workers.attempts import Attempt, Engine, code, engine_in
from tests.workers.engine import linux, needs_bubblewrap
from workers.events import Step
from workers.job import Host

pytestmark = [linux, needs_bubblewrap]
FILES = {"README": "hello\n", "lock": "1\n", "src/x": "x\n", ".gitignore": "installed/\n__pycache__/\n.env\n"}
KINDS = pytest.mark.parametrize("overlay", [True, False], ids=["overlay", "whole"])


USED, RAN, NOT_KEPT = "Setup used again", "Setup", "Setup runs again in the next session"
WITHHELD = "Agent configuration not used, because allow_agent_configuration is off for the site"
# Each run of it leaves something else, so that a copy can be distinguished from a second run. Odd names, links and folders
# are part of it, and configuration of agents.
INSTALL = """
mkdir -p installed/bin src/__pycache__ "$HOME/.cache"
head -c 12 /dev/urandom | base64 > installed/made
ln -s made installed/link; ln installed/made installed/same; printf '#!/bin/sh\\n' > installed/bin/run
chmod 755 installed/bin/run; touch -d 2001-02-03 installed/bin/run; chmod 700 installed/bin
cp installed/made "$HOME/.cache/made"; cp installed/made src/__pycache__/made
printf 'exit 0' > .git/hooks/pre-commit; git config custom.value "$(cat installed/made)"

mkdir -p installed/deep "installed/-x" "$(printf 'installed/new\\nline')"; ln -s /etc installed/etc
ln -s /etc "$HOME/.linked"; rm -rf "$HOME/.agent-runners"; ln -s /etc "$HOME/.agent-runners"
printf '\\377' > "$(printf 'installed/\\377')"; mkfifo installed/pipe; truncate -s 100M installed/sparse
mv src moved; cp -a moved src; mkdir installed/a; mv moved installed/a/moved

echo KEY=1 > .env; echo 1 > installed/.env; mkdir "$HOME/.claude"; echo x > "$HOME/.claude/x"
"""
LOOK = """
cat installed/made installed/link "$HOME/.cache/made" src/__pycache__/made; git config custom.value
stat -c '%a %U %h %Y' installed/made installed/bin installed/bin/run src/__pycache__; ls .git/hooks; git status --short
(find installed; ls -A . "$HOME") | LC_ALL=C sort | od -c; readlink installed/etc "$HOME/.linked"; du -k installed/sparse
"""
SPOIL = """
echo bad > installed/made; echo bad > "$HOME/.cache/made"; echo bad > src/__pycache__/made; echo bad > installed/more
git config custom.value bad; rm .git/hooks/pre-commit installed/etc; echo x > x
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path, "bubblewrap", list(FILES.items())) as made:
        yield made


def setup_of(attempt: Attempt) -> str:
    """The step that says what was done about setup."""
    assert attempt.outcome.failure is None, attempt.outcome.failure
    [step] = [title for title in attempt.steps if title in (USED, RAN)]
    return step


def message_of(attempt: Attempt, title: str) -> str:
    [message] = [each.message for each in attempt.events if isinstance(each, Step) and each.title == title]
    return message


def kept_in(host: Host) -> list[Path]:
    return sorted(host.work_dir.glob("setups/*/*"), key=lambda path: path.stat().st_mtime)


@KINDS
def test_later_sessions_get_all_that_setup_left_whatever_agents_did_to_it(engine: Engine, overlay: bool) -> None:
    engine.host = replace(engine.host, overlay=overlay)
    found = []
    for expected in (RAN, USED, USED):
        attempt = engine.run(f"({LOOK}) > $TMPDIR/seen; mv $TMPDIR/seen seen; {SPOIL}", setup_command=INSTALL)
        assert setup_of(attempt) == expected and NOT_KEPT not in attempt.steps
        found.append((message_of(attempt, WITHHELD), engine.diff))
    assert found[0] == found[1] == found[2]
    withheld, diff = found[0]
    assert "pre-commit" in diff and "755" in diff and "bad" not in diff
    assert {".env", "installed/.env", "~/.claude"} <= set(withheld.split())


@KINDS
def test_a_follow_up_with_the_same_named_files_gets_it_as_well(engine: Engine, overlay: bool) -> None:
    engine.host = replace(engine.host, overlay=overlay)
    settings = {"setup_cache_files": ("lock",), "setup_command": INSTALL}
    work = "mkdir other; echo 2 > other/y; echo 3 >> src/x; rm README"
    assert setup_of(engine.run(work, **settings)) == RAN
    earlier = engine.sink.diffs["cumulative"]
    after = engine.run(
        "cat installed/made src/__pycache__/made other/y > seen", start_diff=lambda: iter([earlier]), **settings
    )
    assert setup_of(after) == USED
    assert "seen" in engine.diff and "installed/" not in engine.diff and "README" not in engine.diff


def test_a_setup_that_changed_what_git_does_not_ignore_runs_in_each_session_and_a_step_says_why(engine: Engine) -> None:
    diffs = []
    for _ in range(2):
        attempt = engine.run("echo agent >> README", setup_command="echo new > new")
        assert setup_of(attempt) == RAN
        assert "git does not ignore" in message_of(attempt, NOT_KEPT)
        diffs.append(engine.diff)
    assert diffs[0] == diffs[1]


def test_a_setup_that_failed_or_was_stopped_is_not_kept(engine: Engine) -> None:
    def stop(event: object) -> None:
        if isinstance(event, Step) and event.title == "half":
            raise SystemExit

    for failing in ("exit 3", "kill -9 $$"):
        attempt = engine.run("true", setup_command=f"mkdir -p installed; {failing}")
        assert code(attempt.outcome) == ("setup_failed", "setup")
    with pytest.raises(SystemExit):
        engine.finish(engine.job("true", setup_command="mkdir installed; echo half; sleep 60"), stop)
    assert not kept_in(engine.host)
