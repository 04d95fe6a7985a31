"""Changes of a session's state and what depends on it, in one transaction. Runner and session are locked."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from app import db, queue
from app.models import AgentRunner, AgentRunnerSession
from app.models.states import ACTIVE, RunnerState, SessionState, runner_state
from app.services import counters, events, leases
from app.services.execution import scheduling


def dispatch_next(expires: float = leases.MAX_REDISPATCH_SECONDS) -> None:
    """Dispatch the session that is scheduled next, if any. The worker claims whichever session is next at that time."""
    candidate = scheduling.find_next()
    if candidate is not None:
        session_id = str(candidate.session_id)
        db.after_commit(lambda: queue.send(queue.RUN_SESSION, session_id, expires=expires))


def enter(runner: AgentRunner, session: AgentRunnerSession, state: SessionState) -> None:
    """Move the session to `state`, and update its times, lease, event and the runner's state."""
    was_running, session.state = session.state == SessionState.RUNNING, state
    session.reported_stage = session.current_task = runner.current_task = None
    if state in ACTIVE:
        runner.active_session_created_at = session.created_at
    else:
        session.done_at = db.now()
        leases.release(session)
        runner.active_session_created_at = None
    db.session.flush()
    if state not in ACTIVE:
        counters.count(f"sessions_ended/{state.value}")
        if session.failure is not None:
            counters.count(f"sessions_failed/{session.failure['code']}")
        if was_running:
            # A worker is free now, and a concurrency limit may allow another session.
            dispatch_next()
        db.session.refresh(session, ["done_at"])
        if session.started_at is not None and session.duration is None and session.done_at is not None:
            session.duration = round((session.done_at - session.started_at).total_seconds() * 1000)
        runner.done_at = session.done_at
    events.record_state(session)
    refresh_runner(runner)


def move_head(runner: AgentRunner, session: AgentRunnerSession | None) -> None:
    """Make `session` (None: the base) the head: the runner's diff, pull request, commits and next session follow it."""
    runner.head_session_id = session.id if session else None
    runner.diff_key = session.cumulative_diff_key if session else None
    runner.contains_secret = session is not None and session.contains_secret
    mark_discarded(runner)
    refresh_runner(runner)


def mark_discarded(runner: AgentRunner) -> None:
    """Write `is_discarded`: DONE, and neither the head nor an ancestor of it.

    A session that changed nothing was never the head; it is discarded if the session that it followed is.
    """
    db.session.flush()
    sessions = list(
        db.session.scalars(sa.select(AgentRunnerSession).where(AgentRunnerSession.agent_runner_id == runner.id))
    )
    parents = {session.id: session.parent_session_id for session in sessions}
    kept: set[uuid.UUID | None] = {None}
    step = runner.head_session_id
    while step is not None:
        kept.add(step)
        step = parents[step]
    for session in sessions:
        follows = session.id if session.has_result_diff or session.has_cumulative_diff else session.parent_session_id
        session.is_discarded = session.state == SessionState.DONE and follows not in kept


def refresh_runner(runner: AgentRunner) -> None:
    """Update the runner's state from its sessions, unless it is archived."""
    if runner.is_archived:
        return
    db.session.flush()
    mine = sa.select(AgentRunnerSession.state).where(AgentRunnerSession.agent_runner_id == runner.id)
    active = db.session.scalar(mine.where(AgentRunnerSession.state.in_(ACTIVE)))
    latest_kept = db.session.scalar(
        mine.where(AgentRunnerSession.state != SessionState.CANCELLED, AgentRunnerSession.is_discarded.is_(False))
        .order_by(AgentRunnerSession.created_at.desc(), AgentRunnerSession.id.desc())
        .limit(1)
    )
    runner.state = runner_state(active, latest_kept)
    if runner.state in (RunnerState.NEW, RunnerState.RUNNING):
        runner.done_at = None
