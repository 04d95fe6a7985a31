"""Changes of a session's state and what depends on it, in one transaction. Runner and session are locked."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from app import db, queue
from app.folding import PROMPT_CHARACTERS, folded_words
from app.models import AgentRunner, AgentRunnerSession, Event
from app.models.states import ACTIVE, Execution, Mode, RunnerState, SessionState, runner_state
from app.services import counters, events, leases
from app.services.execution import scheduling


def dispatch_next(expires: float = leases.MAX_REDISPATCH_SECONDS) -> None:
    """Dispatch the session that is scheduled next, if any. The worker claims whichever session is next at that time."""
    session_id = scheduling.find_next()
    if session_id is not None:
        db.after_commit(lambda: queue.send(queue.RUN_SESSION, str(session_id), expires=expires))


def begin(runner: AgentRunner, session: AgentRunnerSession) -> Event:
    """Make a session that is not stored yet NEW. Returns its first event, which the caller stores with it."""
    _write_state(runner, session, SessionState.NEW)
    runner.latest_session_agent = session.agent
    event = events.new_state(runner, session)
    event.prompt_folded = folded_words(session.prompt[:PROMPT_CHARACTERS])
    return event


def enter(runner: AgentRunner, session: AgentRunnerSession, state: SessionState) -> None:
    """Move the session to `state`, and update its times, lease, event and the runner's state."""
    was_running = session.state == SessionState.RUNNING
    _write_state(runner, session, state)
    db.session.add(events.new_state(runner, session))
    if state in ACTIVE:
        return
    counters.count(f"sessions_ended/{state.value}")
    if session.failure is not None:
        counters.count(f"sessions_failed/{session.failure['code']}")
    if was_running:
        # A worker is free now, and a concurrency limit may allow another session.
        dispatch_next()


def requeue(runner: AgentRunner, session: AgentRunnerSession) -> None:
    """Return a session that no worker runs any more to NEW, and dispatch it, or have that done when its wait is over."""
    session.task_id = None
    leases.release(session)
    # External workers poll for sessions.
    if runner.site.execution == Execution.INTERNAL:
        if session.waiting_until is None:
            leases.dispatch(session, queue.RUN_SESSION)
        else:
            session.next_dispatch_at = session.waiting_until
    enter(runner, session, SessionState.NEW)


def _write_state(runner: AgentRunner, session: AgentRunnerSession, state: SessionState) -> None:
    session.state = state
    session.reported_stage = session.current_task = runner.current_task = None
    if state in ACTIVE:
        runner.active_session_created_at = session.created_at
        runner.done_at = None
    else:
        assert session.locked_at is not None
        leases.release(session)
        session.done_at = runner.done_at = session.locked_at
        if session.started_at is not None and session.duration is None:
            # The database's clock may have been set back.
            session.duration = max(0, round((session.done_at - session.started_at).total_seconds() * 1000))
        runner.active_session_created_at = None
    if state == SessionState.CANCELLED:
        refresh_runner(runner, without=session)
    else:
        # The session is the runner's newest, since none is created while another one is active.
        runner.state = RunnerState(state)
        if session.mode != Mode.REBASE:
            # A rebase answers nothing.
            runner.questions = session.questions if state == SessionState.DONE else None


def move_head(runner: AgentRunner, session: AgentRunnerSession | None) -> None:
    """Make `session` (None: the base) the head: the runner's diff, pull request, commits and next session follow it."""
    runner.head_session_id = session.id if session else None
    runner.diff_key = session.cumulative_diff_key if session else None
    runner.contains_secret = session is not None and session.contains_secret
    if session and session.base_sha and session.base_sha != runner.base_sha:
        # It is, or comes before, a session that was rebased.
        runner.base_sha, runner.behind_by = session.base_sha, None
    # They were measured for another diff.
    runner.mergeable = runner.conflicts = None
    mark_discarded(runner)


def mark_discarded(runner: AgentRunner) -> None:
    """Write `is_discarded`: DONE, and neither the head nor an ancestor of it.

    A session that changed nothing was never the head; it is discarded if the session that it followed is.
    """
    table = AgentRunnerSession
    has_diff = sa.or_(table.result_diff_key.is_not(None), table.cumulative_diff_key.is_not(None))
    query = sa.select(table.id, table.parent_session_id, table.state, table.is_discarded, has_diff.label("has_diff"))
    with db.session.no_autoflush:
        rows = db.session.execute(query.where(table.agent_runner_id == runner.id)).all()
    parents = {row.id: row.parent_session_id for row in rows}
    kept: set[uuid.UUID | None] = {None}
    step = runner.head_session_id
    while step is not None:
        kept.add(step)
        step = parents[step]
    for row in rows:
        follows = row.id if row.has_diff else row.parent_session_id
        is_discarded = row.state == SessionState.DONE and follows not in kept
        if is_discarded != row.is_discarded:
            db.session.get_one(AgentRunnerSession, row.id).is_discarded = is_discarded


def refresh_runner(runner: AgentRunner, without: AgentRunnerSession | None = None) -> None:
    """Update the state and questions of a runner that has no active session, unless it is archived: they are those of the
    latest session which is neither cancelled nor discarded, apart from `without`."""
    if runner.is_archived:
        return
    mine = [AgentRunnerSession.agent_runner_id == runner.id]
    if without is None:
        db.session.flush()
    else:
        mine.append(AgentRunnerSession.id != without.id)
    query = (
        sa.select(AgentRunnerSession.state, AgentRunnerSession.mode, AgentRunnerSession.questions)
        .where(*mine, AgentRunnerSession.state != SessionState.CANCELLED, AgentRunnerSession.is_discarded.is_(False))
        .order_by(AgentRunnerSession.created_at.desc(), AgentRunnerSession.id.desc())
        .limit(1)
    )
    with db.session.no_autoflush:
        latest = db.session.execute(query).first()
    runner.state = runner_state(None, latest.state if latest else None)
    if latest is None or latest.mode != Mode.REBASE:
        runner.questions = latest.questions if latest and latest.state == SessionState.DONE else None
