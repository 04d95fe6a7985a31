"""An attempt at a session: its claim, the writes that it may make, and its end. See `leases`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db, queue
from app.config import settings
from app.models import AgentRunner, AgentRunnerSession, Site
from app.models.states import FINAL, Execution, SessionState, Stage
from app.services import events, leases, lookup
from app.services.execution import lifecycle, scheduling
from app.services.execution.outcomes import Failure, Outcome, Work

# How long past the time limit an external worker may still report the outcome. It ends its session itself.
REPORT_GRACE_SECONDS = 60.0
MOST_TRIES = 10
"""How many sessions a claim tries, if each becomes unavailable before it is locked, before it gives up."""


@dataclass(frozen=True)
class Claim:
    """A claimed attempt, with the rows that the engine's job is made of."""

    session: AgentRunnerSession
    runner: AgentRunner
    site: Site

    @property
    def attempt(self) -> int:
        return self.session.attempt


def claim(session_id: uuid.UUID, task_id: str) -> Claim | None:
    """Claim the session that is scheduled next, whichever one the message names. None means: drop the message.

    The session that the message names is requeued first if its lease has expired.
    """
    # One claim at a time in the whole deployment, so that each sees the claims before it, and none finds nothing while
    # sessions wait. The lock also makes it safe to lock rows of several accounts, which nothing else may do.
    db.lock("claim")
    _expire_lease_of(session_id)
    for _ in range(MOST_TRIES):
        candidate = scheduling.find_next()
        if candidate is None:
            return None
        account, site = lookup.lock_account(candidate.account_id), lookup.lock_site(candidate.site_id)
        locked = lookup.lock_session(candidate.session_id)
        assert locked is not None
        runner, session = locked
        # It may have been stopped, or its site given to external workers, before the locks were granted.
        if (
            session.state == SessionState.NEW
            and site.execution == Execution.INTERNAL
            and scheduling.has_room(account, site)
        ):
            account.last_claimed_at = db.now()
            begin(runner, session, task_id)
            return Claim(session, runner, site)
    return None


def _expire_lease_of(session_id: uuid.UUID) -> None:
    found = db.session.get(AgentRunnerSession, session_id)
    if found is None or found.state != SessionState.RUNNING:
        return
    lookup.lock_account(found.account_id)
    lookup.lock_site(found.site_id)
    locked = lookup.lock_session(session_id)
    assert locked is not None
    expire_lease(*locked)


def begin(runner: AgentRunner, session: AgentRunnerSession, task_id: str | None) -> None:
    """Start the next attempt at a locked session that is NEW."""
    leases.begin(session)
    session.task_id = task_id
    session.steps_count = 0
    session.contains_secret = False
    for reported in ("failure", "result", "duration", "usage", "result_diff_key", "cumulative_diff_key"):
        # An earlier attempt may have reported these before its worker was lost.
        setattr(session, reported, None)
    session.started_at = db.now()
    lifecycle.enter(runner, session, SessionState.RUNNING)
    if task_id is None:
        # An external worker fetches and saves by itself, and reports only what its agent does.
        _enter_stage(runner, session, Stage.AGENT)
    if session.attempt > 1:
        add_step(session, "Started again", f"{_restart_reason(session)} This is attempt {session.attempt}.")


def _restart_reason(session: AgentRunnerSession) -> str:
    """Why the attempts before this one did not finish: their workers were lost, or were stopped and requeued it."""
    before, lost = session.attempt - 1, session.workers_lost
    if lost in (0, before):
        return f"The worker of attempt {before} {'was lost' if lost else 'was stopped and requeued the session'}."
    return f"Of {before} earlier attempts, {lost} lost their worker; the workers of the others were stopped."


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
        _requeue(runner, session)


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
    add_step(session, "The session reached its time limit", message)
    session.failure = Failure("time_limit", "agent", retryable=False, message=message).to_json()
    lifecycle.enter(runner, session, SessionState.ERROR)


def _requeue(runner: AgentRunner, session: AgentRunnerSession) -> None:
    session.task_id = None
    leases.release(session)
    # External workers poll for sessions.
    if runner.site.execution == Execution.INTERNAL:
        leases.dispatch(session, queue.RUN_SESSION)
    lifecycle.enter(runner, session, SessionState.NEW)


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


def record_base(
    session_id: uuid.UUID, attempt: int, base_sha: str, branch: str, default_branch: str | None = None
) -> None:
    """Record the commit and branch of the checkout. The runner keeps its first ones.

    A site without a default branch takes `default_branch`, which is the remote's if it is known.
    """
    found = db.session.get(AgentRunnerSession, session_id)
    site = lookup.lock_site(found.site_id) if found else None
    runner, session = _hold(session_id, attempt)
    session.base_sha = base_sha
    runner.base_sha = runner.base_sha or base_sha
    runner.branch = runner.branch or branch
    if site is not None and site.default_branch is None:
        site.default_branch = default_branch


def record_stage(session_id: uuid.UUID, attempt: int, stage: Stage) -> None:
    """Write which part of the work the attempt begins now."""
    _enter_stage(*_hold(session_id, attempt), stage)


def _enter_stage(runner: AgentRunner, session: AgentRunnerSession, stage: Stage) -> None:
    session.reported_stage = stage
    session.current_task = runner.current_task = None
    events.record(session, events.STAGE, {"stage": stage.value})


def record_step(session_id: uuid.UUID, attempt: int, title: str, message: str, *, of_agent: bool = False) -> None:
    """Append one step. One of the agent's own becomes the `current_task` of the session and its runner."""
    runner, session = _hold(session_id, attempt)
    add_step(session, title, message)
    if of_agent:
        session.current_task = runner.current_task = title[:500]


def add_step(session: AgentRunnerSession, title: str, message: str) -> None:
    session.steps_count += 1
    events.record(session, events.STEP, {"title": title, "message": message})


def add_reported_step(session: AgentRunnerSession, title: str, message: str) -> None:
    """Append a step that an external worker reports. Steps beyond `max_steps` are left out; one last step says so."""
    most = settings().max_steps
    if session.steps_count < most:
        add_step(session, title, message)
    elif session.steps_count == most:
        add_step(session, "Steps are left out from here on", f"A session keeps {most:,} steps.")


def record_usage(session_id: uuid.UUID, attempt: int, usage: dict[str, Any]) -> None:
    """Replace the usage by newer totals."""
    _, session = _hold(session_id, attempt)
    session.usage = usage
    events.record(session, events.USAGE, usage)


def finish(session_id: uuid.UUID, attempt: int, state: SessionState, outcome: Outcome) -> None:
    """End the attempt and the session. The outcome's diffs must be stored already."""
    runner, session = _hold(session_id, attempt)
    end(runner, session, state, outcome)


def end(runner: AgentRunner, session: AgentRunnerSession, state: SessionState, outcome: Outcome) -> None:
    """Move a locked session to a final state and record its outcome. DONE with a diff moves the head."""
    assert state in FINAL
    outcome.write(session)
    if session.has_result_diff or session.has_cumulative_diff:
        session.work_saved_at = db.now()
    lifecycle.enter(runner, session, state)
    if state == SessionState.DONE and (session.has_result_diff or session.has_cumulative_diff):
        lifecycle.move_head(runner, session)


def keep_work(session_id: uuid.UUID, attempt: int, work: Work) -> bool:
    """Record the work of an attempt whose session has already ended: once for that attempt, and never its state.

    Returns whether the session now has a diff. Usage is recorded without a diff too.
    """
    locked = lookup.lock_session(session_id)
    if locked is None:
        return False
    _, session = locked
    ended = session.state in (SessionState.CANCELLED, SessionState.ERROR)
    if session.attempt != attempt or not ended or session.work_saved_at is not None:
        return False
    work.write(session)
    if not (session.has_result_diff or session.has_cumulative_diff):
        return False
    session.work_saved_at = db.now()
    events.record(session, events.STATE, {"state": session.state.value, "attempt": attempt, "work_saved": True})
    return True


def requeue(session_id: uuid.UUID, attempt: int) -> bool:
    """Requeue the session for another worker, without counting a lost worker. False if the attempt does not hold it."""
    locked = lookup.lock_session(session_id)
    if locked is None or not leases.is_held(locked[1], attempt):
        return False
    _requeue(*locked)
    return True


def is_cancelled(session_id: uuid.UUID, attempt: int) -> bool:
    """Whether that attempt's session was stopped, so that its work must be kept."""
    session = db.session.get(AgentRunnerSession, session_id)
    return session is not None and session.attempt == attempt and session.state == SessionState.CANCELLED


def find_running(asked: Iterable[tuple[str, int]]) -> list[Claim]:
    """The attempts, of those given by session id and number, that hold their session."""
    return _find(asked, AgentRunnerSession.state == SessionState.RUNNING)


def find_by_task(task_id: str) -> tuple[uuid.UUID, int] | None:
    """The session, and the number of its attempt, that the Celery task `task_id` holds; None if it holds none."""
    query = sa.select(AgentRunnerSession.id, AgentRunnerSession.attempt).where(
        AgentRunnerSession.state == SessionState.RUNNING, AgentRunnerSession.task_id == task_id
    )
    row = db.session.execute(query).first()
    return (row[0], row[1]) if row else None


def find_without_work(asked: Iterable[tuple[str, int]]) -> list[Claim]:
    """The attempts whose session was stopped or failed, and has no diff yet: `keep_work` would accept one."""
    ended = AgentRunnerSession.state.in_((SessionState.CANCELLED, SessionState.ERROR))
    return _find(asked, sa.and_(ended, AgentRunnerSession.work_saved_at.is_(None)))


def _find(asked: Iterable[tuple[str, int]], condition: sa.ColumnElement[bool]) -> list[Claim]:
    """The given attempts that are the last of their session and meet the condition."""
    attempts = set(asked)
    rows = db.session.execute(
        sa.select(AgentRunnerSession, AgentRunner, Site)
        .join(AgentRunner, AgentRunner.id == AgentRunnerSession.agent_runner_id)
        .join(Site, Site.id == AgentRunner.site_id)
        .where(AgentRunnerSession.id.in_([uuid.UUID(session_id) for session_id, _ in attempts]), condition)
    )
    return [Claim(*row) for row in rows if (str(row[0].id), row[0].attempt) in attempts]


def _hold(session_id: uuid.UUID, attempt: int) -> tuple[AgentRunner, AgentRunnerSession]:
    """Lock the session for a write of `attempt`. Raises if the attempt no longer holds it."""
    locked = lookup.lock_session(session_id)
    leases.check_held(locked[1] if locked else None, attempt)
    assert locked is not None
    return locked
