"""What an attempt leaves whose worker is killed: it can be distinguished from one that lives, and its work can be saved."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import forked_for
from tests.workers.attempts import Engine, engine_in
from tests.workers.engine import USUAL_SANDBOX, eventually, linux
from workers import discard_workspaces, is_orphan, locked, save_lost_work
from workers.attempt import run
from workers.errors import EngineError
from workers.events import Step
from workers.job import Job, Limits

pytestmark = linux
FILES = (("README", "hello\n"), ("lock.json", "{}\n"), (".env", "KEY=1\n"))
WORK = "echo kept >> README; echo new > new; echo begun; sleep 3600"


@pytest.fixture(params=USUAL_SANDBOX)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path, request.param, FILES) as made:
        yield made
        discard_workspaces(made.host, made.host.work_dir.glob("workspaces/*"))


@contextlib.contextmanager
def worker_on(engine: Engine, job: Job, step: str = "begun") -> Iterator[int]:
    """A worker that runs the job up to a step, and is killed in the end."""
    reader, writer = os.pipe()
    worker = os.fork()
    if worker == 0:
        with contextlib.suppress(BaseException):
            for event in run(job, engine.host):
                if isinstance(event, Step) and event.title == step:
                    os.write(writer, b".")
        os._exit(1)
    os.close(writer)
    try:
        assert os.read(reader, 1) == b".", "the attempt ended before that step"
        yield worker
    finally:
        os.close(reader)
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def lose(engine: Engine, job: Job, step: str = "begun") -> Path:
    """Have the job's worker killed when it is at a step; the workspace that is left, once all of the attempt is dead."""
    with worker_on(engine, job, step):
        folder = workspace_of(engine)
        assert not is_orphan(folder), "the worker lives"
    eventually(lambda: is_orphan(folder), "the attempt never died")
    return folder


def workspace_of(engine: Engine) -> Path:
    (folder,) = engine.host.work_dir.glob("workspaces/*")
    return folder


@contextlib.contextmanager
def git_at_work_in(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Git as its worker left it: it waits for input that never comes."""
    command = ["git", "hash-object", "--stdin"]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as git:
        comm = Path(f"/proc/{git.pid}/comm")
        eventually(lambda: comm.read_text() == "git\n", "git did not start")
        yield git
        git.kill()


def test_the_work_of_a_lost_attempt_is_saved_without_setup_and_large_files_with_secrets_flagged_and_git_ended_first(
    engine: Engine, tmp_path: Path
) -> None:
    job = engine.job(
        f"head -c 300000 /dev/zero > large; echo a-token-of-the-forge > found; {WORK}",
        setup_command="echo set up > lock.json; echo made > made",
        credential="a-token-of-the-forge",
        limits=Limits(max_diff_bytes=100_000),
    )
    folder = lose(engine, job)
    # As if it had been lost during a snapshot.
    (folder / "aside" / "0" / "of the nested repository").mkdir(parents=True)
    with git_at_work_in(folder / "ours.git") as left, git_at_work_in(tmp_path) as other:
        save_lost_work(job, engine.host)
        assert left.wait() == -signal.SIGKILL
        assert other.poll() is None

    assert "+kept" in engine.diff and "+new" in engine.diff and "+a-token-of-the-forge" in engine.diff
    for untouched in ("lock.json", "made", ".env", "large"):
        assert untouched not in engine.diff
    assert engine.sink.diffs["cumulative"] == engine.sink.diffs["result"]
    assert engine.sink.contains_secret


def test_what_setup_did_before_its_worker_was_lost_is_no_work(engine: Engine) -> None:
    job = engine.job("true", setup_command="echo set up > lock.json; echo setting; sleep 3600")
    lose(engine, job, "setting")

    save_lost_work(job, engine.host)

    assert engine.sink.diffs == {}


def test_a_lost_question_leaves_no_work(engine: Engine) -> None:
    job = engine.job(WORK, mode="ask")
    lose(engine, job)

    save_lost_work(job, engine.host)

    assert engine.sink.diffs == {}


def test_lost_work_is_tried_once_whatever_comes_of_it(engine: Engine) -> None:
    job = engine.job(WORK, limits=Limits(max_diff_files=0))
    lose(engine, job)
    with pytest.raises(EngineError, match="more than 0 files"):
        save_lost_work(job, engine.host)

    save_lost_work(job, engine.host)

    assert engine.sink.diffs == {}


def test_a_workspace_is_locked_by_one_at_a_time_and_by_none_after_its_removal(engine: Engine, tmp_path: Path) -> None:
    folder = lose(engine, engine.job(WORK))
    with locked(folder) as first, locked(folder) as second:
        assert first and not second
    with git_at_work_in(folder / "ours.git") as left, git_at_work_in(tmp_path) as other:
        discard_workspaces(engine.host, [folder])
        assert left.wait() == -signal.SIGKILL, "git that outlived the worker is ended"
        assert other.poll() is None
    assert not is_orphan(folder)


@pytest.mark.parametrize("engine", ["none"], indirect=True)
def test_a_workspace_is_not_left_before_the_last_process_of_its_agent_is_dead(engine: Engine) -> None:
    with worker_on(engine, engine.job(WORK)):
        (supervisor,) = forked_for([os.getpid()], "supervisor")
        os.kill(supervisor, signal.SIGSTOP)
    folder = workspace_of(engine)
    assert not is_orphan(folder), "the agent lives, as its supervisor is slow to kill it"
    os.kill(supervisor, signal.SIGCONT)
    eventually(lambda: is_orphan(folder), "the attempt never died")
