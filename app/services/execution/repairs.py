"""What is done about a session whose message or worker was lost, or whose external worker exceeds the time limit."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from app import db, queue
from app.models import AgentRunner, AgentRunnerSession
from app.models.states import SessionState
from app.services import leases, lookup
from app.services.execution import lifecycle, progress
from app.services.execution.outcomes import Failure

# How long past the time limit an external worker may still report the outcome. It ends its session itself.
REPORT_GRACE_SECONDS = 60.0


def repair(session_id: uuid.UUID) -> None:
    """Redispatch a waiting session, requeue one whose worker was lost, or end one of an external worker that is past
    its time limit. Each condition is checked again under the lock."""
    locked = lookup.lock_session(session_id)
    if locked is None:
        return
    runner, session = locked
    if leases.is_due(session):
        leases.dispatch(session, queue.RUN_SESSION)
    else:
        expire_lease(runner, session)
        end_past_time_limit(runner, session)


def expire_lease(runner: AgentRunner, session: AgentRunnerSession) -> None:
    """If a locked session's lease has expired, its worker counts as lost."""
    if leases.has_expired(session):
        _lose_worker(runner, session)


def lose_worker(session_id: uuid.UUID, attempt: int) -> bool:
    """Do what the end of its lease would do to a session whose worker is known to be lost. False if the attempt does not
    hold it."""
    locked = lookup.lock_session(session_id)
    if locked is None or not leases.is_held(locked[1], attempt):
        return False
    _lose_worker(*locked)
    return True


def _lose_worker(runner: AgentRunner, session: AgentRunnerSession) -> None:
    """Count a lost worker, and requeue the session or end it with ERROR."""
    if leases.lose_worker(session):
        message = (
            f"{session.workers_lost} workers were lost while they ran this session. The session itself may crash them; "
            "read the workers' logs before you run it again."
        )
        session.failure = Failure("worker_lost", "agent", retryable=True, message=message).to_json()
        lifecycle.enter(runner, session, SessionState.ERROR)
    else:
        lifecycle.requeue(runner, session)


def is_past_time_limit() -> sa.ColumnElement[bool]:
    """Whether an external worker's session is past its time limit. Our own workers enforce the limit themselves."""
    session = AgentRunnerSession
    most = session.limits["max_duration_seconds"].as_float() + REPORT_GRACE_SECONDS
    outside = sa.and_(session.state == SessionState.RUNNING, session.task_id.is_(None))
    return sa.and_(outside, session.started_at < db.now(-most))


def end_past_time_limit(runner: AgentRunner, session: AgentRunnerSession) -> None:
    """End an external worker's session that is past its time limit. The worker may still send its diffs."""
    mine = AgentRunnerSession.id == session.id
    if not db.session.scalar(sa.select(sa.exists().where(mine, is_past_time_limit()))):
        return
    limit = session.limits["max_duration_seconds"]
    message = (
        f"The session was ended at its time limit of {limit:g} seconds, which its external worker did not enforce. "
        "Raise limits.max_duration_seconds, or split the task."
    )
    progress.add_step(runner, session, "The session reached its time limit", message)
    session.failure = Failure("time_limit", "agent", retryable=False, message=message).to_json()
    lifecycle.enter(runner, session, SessionState.ERROR)
