"""Which sessions use what a setup command left, and what is kept of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.matrix import FULL
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
from tests.workers.workspace.test_kept_setups import FILES, KINDS, kept_in
from tests.workers.workspace.test_overlay import as_agent, shell
from workers.errors import EngineError
from workers.job import Attachment, Host, Job
from workers.limits.budget import Budget
from workers.workspace.kept_setups import KeptSetup
from workers.workspace.orphans import discard_workspaces

pytestmark = [linux, needs_bubblewrap]


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", dict(FILES))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make_host(tmp_path / "work", sandbox="bubblewrap", overlay=False)


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
