"""What a setup command left is used again, in overlays and in whole checkouts, and the diffs stay the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.matrix import FULL
from tests.workers.attempts import Attempt, Engine, code, engine_in
from tests.workers.engine import linux, needs_bubblewrap
from tests.workers.repositories import (
    commit_all,
    finish,
    following,
    make_host,
    make_job,
    make_origin,
    prepare,
    tip_of,
    write,
)
from tests.workers.workspace.test_overlay import as_agent, shell
from workers.errors import EngineError
from workers.events import Step
from workers.job import Attachment, Host, Job
from workers.limits.budget import Budget
from workers.workspace.kept_setups import KeptSetup
from workers.workspace.orphans import discard_workspaces

pytestmark = [linux, needs_bubblewrap]
FILES = {"README": "hello\n", "lock": "1\n", "src/x": "x\n", ".gitignore": "installed/\n__pycache__/\n.env\n"}
KINDS = pytest.mark.parametrize("overlay", [True, False], ids=["overlay", "whole"])


# In whole sessions

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


# Which sessions use what was kept, and what is kept


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", dict(FILES))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make_host(tmp_path / "work", sandbox="bubblewrap", overlay=False)


def kept_in(host: Host) -> list[Path]:
    return sorted(host.work_dir.glob("setups/*/*"), key=lambda path: path.stat().st_mtime)


@dataclass
class SetUp:
    """What became of a setup command: whether what it left earlier is used, why it is not kept, and the content of
    installed/made, if it is there."""

    is_used: bool
    not_kept: str | None
    made: str


def set_up(job: Job, host: Host) -> SetUp:
    """Do in a workspace what a session does about its setup command."""
    workspace = prepare(job, host)
    setup = KeptSetup(job, host, workspace, Budget(job.limits), has_agent_files=False)
    is_used = setup.restore() is not None
    if not is_used:
        as_agent(workspace, shell(job.setup_command or ""))
    workspace.after_setup(keep=setup.keep)
    made = workspace.checkout / "installed" / "made"
    done = SetUp(is_used, setup.not_kept, made.read_text(errors="replace") if made.exists() else "")
    workspace.dispose()
    return done


def session(origin: Path, **settings: object) -> Job:
    return make_job(origin, **{"setup_command": "mkdir installed", "session_id": os.urandom(8).hex(), **settings})


def is_used(origin: Path, host: Host, **settings: object) -> bool:
    return set_up(session(origin, **settings), host).is_used


def test_other_named_files_another_command_or_another_site_run_it_again(host: Host, origin: Path) -> None:
    named = {"setup_cache_files": ("lock", ".gitignore")}
    assert not is_used(origin, host, **named)
    for other in (
        *({"site_id": "other"}, {"egress_hosts": ("example.org",)}, {"setup_command": "true"}),
        {"setup_fingerprint": "that of another variable"},
    ):
        assert not is_used(origin, host, **{**named, **other}), other
    write(origin, {"README": "changed\n"})
    commit_all(origin, "not of a named file")
    assert is_used(origin, host, **named)
    write(origin, {"lock": "2\n"})
    commit_all(origin, "of a named file")
    assert not is_used(origin, host, **named)


def test_without_named_files_only_sessions_from_the_same_files_use_it(host: Host, origin: Path) -> None:
    job = session(origin)
    assert not set_up(job, host).is_used and is_used(origin, host)
    workspace = prepare(job, host)
    write(workspace.checkout, {"README": "changed\n"})
    finish(workspace, job)
    later = following(job, 2, setup_command=job.setup_command)
    assert not set_up(later, host).is_used and is_used(origin, host)


def test_a_named_file_that_does_not_exist_is_no_reason_to_use_anything_again(host: Host, origin: Path) -> None:
    for _ in range(2):
        done = set_up(session(origin, setup_cache_files=("lock", "lokc")), host)
        assert not done.is_used and str(done.not_kept).endswith(": lokc")


COUNTS_FOR_GIT = [
    ("git -c user.name=x -c user.email=x commit -q --allow-empty -m x", "repository in .git"),
    ("echo new > new", "git does not ignore"),
    ("echo changed > README", "git does not ignore"),
    ("echo new > new; echo changed > README", "git does not ignore"),
]


@KINDS
@pytest.mark.parametrize(("command", "reason"), COUNTS_FOR_GIT if FULL else COUNTS_FOR_GIT[:3])
def test_what_counts_for_git_is_not_kept(host: Host, origin: Path, overlay: bool, command: str, reason: str) -> None:
    host = replace(host, overlay=overlay)
    done = set_up(session(origin, setup_command=command), host)
    assert reason in str(done.not_kept) and not kept_in(host)


def test_without_a_sandbox_nothing_is_kept(host: Host, origin: Path) -> None:
    for _ in range(2):
        done = set_up(session(origin), replace(host, sandbox="none"))
        assert not done.is_used and "path" in str(done.not_kept)


def test_only_a_session_from_the_tip_of_the_branch_keeps_for_others(host: Host, origin: Path) -> None:
    """What an agent wrote, or a commit that a caller chose, could change what setup leaves for all others."""
    job = session(origin)
    workspace = prepare(job, host)
    write(workspace.checkout, {"src/x": "evil\n"})
    finish(workspace, job)
    workspace.dispose()
    named = {"setup_command": "mkdir installed; cp src/x installed/made", "setup_cache_files": ("lock",)}
    evil = following(job, 2, **named)
    attached = (Attachment("a", lambda: iter([b"a"])),)
    for each in (evil, session(origin, **named, sha=tip_of(origin)), session(origin, **named, attachments=attached)):
        done = set_up(each, host)
        assert not done.is_used and done.not_kept is None and not kept_in(host)
    assert not is_used(origin, host, **named)
    done = set_up(evil, host)
    assert done.is_used and done.made == "x\n"


def test_more_than_the_disk_space_for_results_is_not_kept(host: Host, origin: Path) -> None:
    host = replace(host, setup_cache_bytes=100_000)
    large = "mkdir installed; head -c 200000 /dev/urandom > installed/made"
    for _ in range(2):
        done = set_up(session(origin, setup_command=large), host)
        assert not done.is_used and "AGENT_RUNNERS_SETUP_CACHE_BYTES" in str(done.not_kept)
    assert not kept_in(host)


def test_a_site_or_the_operator_can_let_setup_run_each_time(host: Host, origin: Path) -> None:
    assert not is_used(origin, host, setup_cache_files=())
    assert not is_used(origin, host)
    done = set_up(session(origin), replace(host, setup_cache_bytes=0))
    assert not done.is_used and done.not_kept is None
    assert is_used(origin, host)


def age(path: Path, seconds: float) -> None:
    past = path.stat().st_mtime - seconds
    os.utime(path, (past, past))


def test_results_are_evicted_by_age_and_by_use(host: Host, origin: Path) -> None:
    def uses(name: str) -> bool:
        command = f"mkdir installed; head -c 60000 /dev/urandom > installed/{name}"
        return is_used(origin, host, setup_command=command)

    for name in "abc":
        assert not uses(name)
        [*others, newest] = kept_in(host)
    assert len(others) == 2
    age(newest / "left.tar", 90_000)
    assert not uses("c")
    assert uses("a")
    discard_workspaces(replace(host, setup_cache_bytes=150_000), ())
    assert uses("a")
    assert not uses("b")


def test_a_result_that_cannot_be_read_is_removed(host: Host, origin: Path) -> None:
    assert not is_used(origin, host)
    [folder] = kept_in(host)
    archive = folder / "left.tar"
    archive.write_bytes(archive.read_bytes()[:700])
    with pytest.raises(EngineError) as caught:
        is_used(origin, host)
    assert (caught.value.code, caught.value.stage) == ("setup_failed", "setup")
    assert not is_used(origin, host)
