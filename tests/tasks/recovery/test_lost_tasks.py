"""Tasks whose process was lost, as another process on the host finds them and requeues their sessions."""

from __future__ import annotations

import os
import threading
import uuid

import pytest

from app import db
from app.models.states import SessionState
from app.services.execution import repairs, session_attempts
from tasks.recovery import lost_tasks
from tests.tasks.conftest import read
from tests.tasks.recovery.test_orphans import begin, lose


def lose_task(task_id: str) -> None:
    """Leave what a process leaves that is killed while it runs the task."""
    pid = os.fork()
    if pid == 0:
        with lost_tasks.marked(task_id):
            os._exit(0)
    os.waitpid(pid, 0)


def test_a_task_counts_as_lost_once_its_process_is(record):
    with lost_tasks.marked("ends"):
        assert lost_tasks.find() == []
    assert lost_tasks.find() == [], "it ended by itself"
    with pytest.raises(SystemExit), lost_tasks.marked("interrupted"):
        raise SystemExit
    assert lost_tasks.find() == []

    lose_task("killed")

    assert lost_tasks.find() == ["killed"]
    lost_tasks.requeue(["killed"])
    assert lost_tasks.find() == [], "it had no session"


def test_the_session_of_a_lost_task_is_requeued_and_its_worker_counts_as_lost(ask):
    session_id = ask("true")
    lose(begin(session_id))
    lose_task("task")

    lost_tasks.requeue(lost_tasks.find())

    session = read(session_id)
    assert (session.state, session.attempt, session.workers_lost) == (SessionState.NEW, 1, 1)
    assert session.task_id is None and session.next_dispatch_at is not None
    assert lost_tasks.find() == []


def test_a_session_that_another_task_has_claimed_is_left_alone(ask):
    session_id = ask("true")
    lose(begin(session_id))
    lose_task("task")
    lost_tasks.requeue(["task"])
    with db.transaction():
        assert session_attempts.claim(session_id, "another")

    lost_tasks.requeue(["task"])
    with db.transaction():
        assert not repairs.lose_worker(session_id, 1)

    session = read(session_id)
    assert (session.state, session.attempt, session.workers_lost) == (SessionState.RUNNING, 2, 1)


def test_a_session_is_requeued_when_nothing_of_its_attempt_runs_any_more(ask):
    session_id = ask("true")
    workspace = begin(session_id)
    lose_task("task")
    requeued = threading.Thread(target=lost_tasks.requeue, args=(["task"],))
    requeued.start()
    requeued.join(0.3)
    assert read(session_id).state == SessionState.RUNNING

    lose(workspace)

    requeued.join()
    assert read(session_id).state == SessionState.NEW


def test_a_task_runs_where_its_mark_cannot_be_made(configure, tmp_path):
    (tmp_path / "file").touch()
    configure(WORK_DIR=str(tmp_path / "file"))
    ran = []
    with lost_tasks.marked(str(uuid.uuid4())):
        ran.append(True)
    assert ran and not lost_tasks.find()
