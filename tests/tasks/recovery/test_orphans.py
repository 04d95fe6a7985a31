"""What a lost attempt left on its host: saved where its session ended with it, and removed in any case."""

from __future__ import annotations

import fcntl

import pytest
import sqlalchemy as sa

from app import artifacts, db
from app.models import AgentRunnerSession
from app.models.states import SessionState
from app.services.execution import session_attempts
from app.services.sites.site_secrets import secrets_of
from app.services.variables.values import Variables
from tasks.attempts.heartbeat import Heartbeat
from tasks.jobs.artifact_io import StoredWork
from tasks.jobs.host import this_host
from tasks.jobs.session_jobs import job_of
from tasks.recovery.orphans import sweep_workspaces
from tests.tasks.conftest import read
from tests.workers.repositories import prepare
from workers.workspace.workspace import Workspace


def begin(session_id) -> Workspace:
    """Claim the session, and let its agent do something."""
    with db.transaction():
        claim = session_attempts.claim(session_id, "task")
    assert claim
    job = job_of(
        claim, Variables(), StoredWork(claim), secrets_of(claim.site, Variables()), Heartbeat.lifeline(), lambda: True
    )
    workspace = prepare(job, this_host())
    workspace.after_setup()
    (workspace.checkout / "a.txt").write_text(f"attempt {claim.attempt}\n")
    return workspace


def lose(workspace: Workspace) -> None:
    """What the system does when the worker is killed."""
    for lock in workspace.locks:
        fcntl.flock(lock, fcntl.LOCK_UN)


def change(session_id, **values) -> None:
    with db.transaction():
        db.session.execute(sa.update(AgentRunnerSession).where(AgentRunnerSession.id == session_id).values(**values))


def diff_of(session_id) -> str:
    session = read(session_id)
    return b"".join(artifacts.store().read(session.result_diff_key)).decode() if session.result_diff_key else ""


@pytest.mark.parametrize("state", [SessionState.CANCELLED, SessionState.ERROR])
def test_the_work_of_a_lost_attempt_is_kept_where_its_session_ended_with_it(ask, state):
    session_id = ask("true")
    workspace = begin(session_id)
    lose(workspace)
    change(session_id, state=state, done_at=db.now())

    sweep_workspaces()

    session = read(session_id)
    assert (session.state, session.attempt) == (state, 1)
    assert "+attempt 1" in diff_of(session_id)
    assert session.work_saved_at is not None and session.has_cumulative_diff
    assert not workspace.root.exists()


def test_a_running_session_s_workspace_stays_as_its_session_may_yet_be_stopped(ask):
    session_id = ask("true")
    workspace = begin(session_id)
    lose(workspace)
    sweep_workspaces()
    assert workspace.root.exists()


@pytest.mark.parametrize("state", [SessionState.NEW, SessionState.DONE])
def test_what_a_retry_stands_for_is_removed(ask, state):
    session_id = ask("true")
    workspace = begin(session_id)
    lose(workspace)
    change(session_id, state=state)
    sweep_workspaces()
    assert not workspace.root.exists()
    assert diff_of(session_id) == ""


def test_of_a_session_that_ended_only_the_last_attempt_counts(ask):
    session_id = ask("true")
    first = begin(session_id)
    lose(first)
    change(session_id, state=SessionState.CANCELLED, attempt=2, done_at=db.now())
    sweep_workspaces()
    assert not first.root.exists()
    assert diff_of(session_id) == ""


def test_an_attempt_that_still_saves_its_work_is_left_to_it(ask):
    session_id = ask("true")
    workspace = begin(session_id)
    change(session_id, state=SessionState.CANCELLED, done_at=db.now())

    sweep_workspaces()

    assert workspace.root.exists() and diff_of(session_id) == ""
    workspace.dispose()


def test_work_that_cannot_be_saved_is_removed_and_keeps_no_other_from_being_saved(ask):
    first, second = ask("true"), ask("true")
    broken = begin(first)
    whole = begin(second)
    for session_id, workspace in ((first, broken), (second, whole)):
        lose(workspace)
        change(session_id, state=SessionState.CANCELLED, done_at=db.now())
    (broken.git.directory / "HEAD").unlink()

    sweep_workspaces()

    assert not broken.root.exists() and not whole.root.exists()
    assert diff_of(first) == ""
    assert "+attempt 1" in diff_of(second)
