"""What a setup command left is used again, in overlays and in whole checkouts, and the diffs stay the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.matrix import FULL
from tests.workers.attempts import Attempt, Engine, code, engine_in
from tests.workers.engine import git, linux, needs_bubblewrap
from workers.events import Step
from workers.job import Attachment, Host
from workers.workspace.orphans import discard_workspaces

pytestmark = [linux, needs_bubblewrap]
USED, RAN, NOT_KEPT = "Setup used again", "Setup", "Setup runs again in the next session"
# Each run of it leaves something else, so that a copy can be distinguished from a second run.
INSTALL = """
mkdir -p installed/bin src/__pycache__ "$HOME/.cache"
head -c 12 /dev/urandom | base64 > installed/made
ln -s made installed/link; ln installed/made installed/same; printf '#!/bin/sh\\n' > installed/bin/run
chmod 755 installed/bin/run; touch -d 2001-02-03 installed/bin/run; chmod 700 installed/bin
cp installed/made "$HOME/.cache/made"; cp installed/made src/__pycache__/made
printf 'exit 0' > .git/hooks/pre-commit; git config custom.value "$(cat installed/made)"
"""
LOOK = """
cat installed/made installed/link "$HOME/.cache/made" src/__pycache__/made; git config custom.value
stat -c '%a %U %h %Y' installed/made installed/bin installed/bin/run src/__pycache__; ls .git/hooks; git status --short
"""
FILES = [("README", "hello\n"), ("lock", "1\n"), ("src/x", "x\n"), (".gitignore", "installed/\n__pycache__/\n.env\n")]


@pytest.fixture(params=[True, False], ids=["overlay", "whole"])
def engine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    with engine_in(tmp_path, "bubblewrap", FILES) as engine:
        engine.host = replace(engine.host, overlay=request.param)
        yield engine


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path, "bubblewrap", FILES) as engine:
        engine.host = replace(engine.host, overlay=False)
        yield engine


def setup_of(attempt: Attempt) -> str:
    """The step that says what was done about setup."""
    assert attempt.outcome.failure is None, attempt.outcome.failure
    [step] = [title for title in attempt.steps if title in (USED, RAN)]
    return step


def message_of(attempt: Attempt, title: str) -> str:
    [message] = [each.message for each in attempt.events if isinstance(each, Step) and each.title == title]
    return message


def output(engine: Engine, **more: object) -> tuple[str, str]:
    """What was done about setup, and what the agent then sees."""
    attempt = engine.run(f"({LOOK}) > seen; cat seen", setup_command=INSTALL, **more)
    return setup_of(attempt), engine.diff


def test_a_second_session_gets_what_setup_left(engine: Engine) -> None:
    first, second = output(engine), output(engine)
    assert (first[0], second[0]) == (RAN, USED)
    assert first[1] == second[1]
    assert "pre-commit" in first[1] and "755" in first[1]


def test_a_follow_up_with_the_same_named_files_gets_it_as_well(engine: Engine) -> None:
    named = {"setup_cache_files": ("lock",)}
    assert output(engine, **named)[0] == RAN
    attempt = engine.run("mkdir other; echo 2 > other/y; echo 3 >> src/x; rm README")
    assert attempt.outcome.failure is None
    earlier = engine.sink.diffs["cumulative"]
    more = {**named, "start_diff": lambda: iter([earlier])}
    after = engine.run("cat installed/made src/__pycache__/made other/y > seen", setup_command=INSTALL, **more)
    assert setup_of(after) == USED
    assert "seen" in engine.diff and "installed/" not in engine.diff and "README" not in engine.diff
    assert setup_of(engine.run("true", setup_command=INSTALL, start_diff=more["start_diff"])) == RAN


def test_other_named_files_another_command_or_another_site_run_it_again(whole: Engine) -> None:
    named = {"setup_cache_files": ("lock", ".gitignore"), "setup_command": "mkdir installed"}
    assert setup_of(whole.run("true", **named)) == RAN
    others = (
        *({"site_id": "other"}, {"egress_hosts": ("example.org",)}, {"setup_command": "true"}),
        {"setup_fingerprint": "that of another variable"},
    )
    assert [setup_of(whole.run("true", **{**named, **other})) for other in others] == [RAN] * 4
    (whole.source / "README").write_text("changed\n")
    git(whole.source, "commit", "--quiet", "--all", "--message", "not of a named file")
    assert setup_of(whole.run("true", **named)) == USED
    (whole.source / "lock").write_text("2\n")
    git(whole.source, "commit", "--quiet", "--all", "--message", "of a named file")
    assert setup_of(whole.run("true", **named)) == RAN


def test_a_named_file_that_does_not_exist_is_no_reason_to_use_anything_again(whole: Engine) -> None:
    for _ in range(2):
        attempt = whole.run("true", setup_command="mkdir installed", setup_cache_files=("lock", "lokc"))
        assert setup_of(attempt) == RAN
        assert message_of(attempt, NOT_KEPT).endswith(": lokc")


@pytest.mark.parametrize("failing", ["exit 3", "kill -9 $$"])
def test_a_setup_that_failed_is_not_kept(whole: Engine, failing: str) -> None:
    command = f"mkdir -p installed; {failing}"
    for _ in range(2):
        assert code(whole.run("true", setup_command=command).outcome) == ("setup_failed", "setup")
    assert not list(whole.host.work_dir.glob("setups/*/*"))


def test_a_setup_that_was_stopped_is_not_kept(whole: Engine) -> None:
    def stop(event: object) -> None:
        if isinstance(event, Step) and event.title == "half":
            raise SystemExit

    job = whole.job("true", setup_command="mkdir installed; echo half; sleep 60")
    with pytest.raises(SystemExit):
        whole.finish(job, stop)
    assert not list(whole.host.work_dir.glob("setups/*/*"))


COUNTS_FOR_GIT = [
    ("git -c user.name=x -c user.email=x commit -q --allow-empty -m x", "repository in .git"),
    ("echo new > new", "git does not ignore"),
    ("echo changed > README", "git does not ignore"),
    ("echo new > new; echo changed > README", "git does not ignore"),
]


@pytest.mark.parametrize(("command", "reason"), COUNTS_FOR_GIT if FULL else COUNTS_FOR_GIT[:3])
def test_what_counts_for_git_is_not_kept(engine: Engine, command: str, reason: str) -> None:
    diffs = []
    for _ in range(2):
        attempt = engine.run("echo agent >> README", setup_command=command)
        assert setup_of(attempt) == RAN
        assert reason in message_of(attempt, NOT_KEPT)
        diffs.append(engine.diff)
    assert diffs[0] == diffs[1]


def test_without_a_sandbox_nothing_is_kept_and_a_step_says_so(tmp_path: Path) -> None:
    with engine_in(tmp_path, "none", FILES) as engine:
        for _ in range(2):
            attempt = engine.run("true", setup_command="mkdir installed")
            assert setup_of(attempt) == RAN
            assert "path" in message_of(attempt, NOT_KEPT)


def test_an_agent_does_not_change_what_later_sessions_get(engine: Engine) -> None:
    command = "mkdir installed; echo good > installed/made; echo good > $HOME/made"
    spoil = "echo bad > installed/made; echo bad > $HOME/made; echo bad > installed/more; echo x > x"
    assert setup_of(engine.run(spoil, setup_command=command)) == RAN
    assert setup_of(engine.run(spoil, setup_command=command)) == USED
    attempt = engine.run("cat installed/* $HOME/made > seen", setup_command=command)
    assert setup_of(attempt) == USED
    assert "+good\n+good" in engine.diff and "bad" not in engine.diff


def test_only_a_session_from_the_tip_of_the_branch_keeps_for_others(whole: Engine) -> None:
    """What an agent wrote, or a commit that a caller chose, could change what setup leaves for all others."""
    whole.run("echo evil >> src/x")
    earlier = whole.sink.diffs["cumulative"]
    tip = git(whole.source, "rev-parse", "HEAD")
    command = "mkdir installed; cp src/x installed/made"
    named = {"setup_command": command, "setup_cache_files": ("lock",)}
    attached = (Attachment("a", lambda: iter([b"a"])),)
    for more in ({"start_diff": lambda: iter([earlier])}, {"sha": tip}, {"attachments": attached}):
        attempt = whole.run("true", **named, **more)
        assert setup_of(attempt) == RAN and NOT_KEPT not in attempt.steps
    assert setup_of(whole.run("cat installed/made > seen", **named)) == RAN
    assert setup_of(whole.run("cat installed/made > seen", **named, start_diff=lambda: iter([earlier]))) == USED
    assert "evil" not in whole.diff


def test_configuration_that_setup_left_is_withheld_each_time(engine: Engine) -> None:
    command = "echo KEY=1 > .env; mkdir -p installed $HOME/.claude; echo 1 > installed/.env; echo x > $HOME/.claude/x"
    seen = []
    for _ in range(2):
        attempt = engine.run("ls -A . installed $HOME > seen", setup_command=command)
        assert code(attempt.outcome) is None
        title = "Agent configuration not used, because allow_agent_configuration is off for the site"
        seen.append((message_of(attempt, title), engine.diff))
    assert setup_of(attempt) == USED
    assert seen[0] == seen[1] and "installed/.env" in seen[0][0]


def test_odd_names_links_and_folders_are_copied_as_they_are(engine: Engine) -> None:
    command = """
mkdir -p installed/deep "installed/-x" "$(printf 'installed/new\\nline')"; ln -s /etc installed/etc
ln -s /etc "$HOME/.linked"; rm -rf "$HOME/.agent-runners"; ln -s /etc "$HOME/.agent-runners"
printf '\\377' > "$(printf 'installed/\\377')"; mkfifo installed/pipe; truncate -s 100M installed/sparse
mv src moved; cp -a moved src; mkdir installed/a; mv moved installed/a/moved
"""
    look = (
        "(find installed | LC_ALL=C sort | od -c; readlink installed/etc $HOME/.linked; du -k installed/sparse) > seen"
    )
    first = engine.run(look, setup_command=command)
    assert setup_of(first) == RAN and NOT_KEPT not in first.steps
    seen = engine.diff
    assert setup_of(engine.run(look, setup_command=command)) == USED
    assert engine.diff == seen


def test_more_than_the_disk_space_for_results_is_not_kept(whole: Engine) -> None:
    whole.host = replace(whole.host, setup_cache_bytes=1_000_000)
    large = "mkdir installed; head -c 2000000 /dev/urandom > installed/made"
    for _ in range(2):
        attempt = whole.run("true", setup_command=large)
        assert setup_of(attempt) == RAN
        assert "AGENT_RUNNERS_SETUP_CACHE_BYTES" in message_of(attempt, NOT_KEPT)
    assert not list(whole.host.work_dir.glob("setups/*/*"))


def test_a_site_or_the_operator_can_let_setup_run_each_time(whole: Engine) -> None:
    whole.run("true", setup_command="true", setup_cache_files=())
    assert setup_of(whole.run("true", setup_command="true")) == RAN
    whole.host = replace(whole.host, setup_cache_bytes=0)
    attempt = whole.run("true", setup_command="true")
    assert setup_of(attempt) == RAN and NOT_KEPT not in attempt.steps


def age(host: Host, seconds: float) -> Callable[[Path], None]:
    def older(path: Path) -> None:
        past = path.stat().st_mtime - seconds
        os.utime(path, (past, past))

    return older


def test_results_are_evicted_by_age_and_by_use(whole: Engine) -> None:
    command = "mkdir installed; head -c 600000 /dev/urandom > installed/%s"
    for name in "abc":
        assert setup_of(whole.run("true", setup_command=command % name)) == RAN
        [*others, newest] = sorted(whole.host.work_dir.glob("setups/*/*"), key=lambda path: path.stat().st_mtime)
    assert len(others) == 2
    age(whole.host, 90_000)(newest / "left.tar")
    assert setup_of(whole.run("true", setup_command=command % "c")) == RAN
    assert setup_of(whole.run("true", setup_command=command % "a")) == USED
    discard_workspaces(replace(whole.host, setup_cache_bytes=1_500_000), ())
    assert setup_of(whole.run("true", setup_command=command % "a")) == USED
    assert setup_of(whole.run("true", setup_command=command % "b")) == RAN


def test_a_result_that_cannot_be_read_is_removed(whole: Engine) -> None:
    assert setup_of(whole.run("true", setup_command="mkdir installed")) == RAN
    [archive] = whole.host.work_dir.glob("setups/*/*/left.tar")
    archive.write_bytes(archive.read_bytes()[:700])
    assert code(whole.run("true", setup_command="mkdir installed").outcome) == ("setup_failed", "setup")
    assert setup_of(whole.run("true", setup_command="mkdir installed")) == RAN
