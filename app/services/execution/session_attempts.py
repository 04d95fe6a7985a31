"""An attempt at a session: its claim and its end. What it reports meanwhile is in `progress`; see also `leases`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from app import db
from app.models import AgentRunner, AgentRunnerSession, Site
from app.models.states import FINAL, Execution, Mode, SessionState, Stage
from app.services import events, leases, lookup
from app.services.execution import lifecycle, progress, quota_waits, repairs, scheduling
from app.services.execution.outcomes import Outcome, Work

MOST_TRIES = 10
"""How many sessions a claim tries, if each becomes unavailable before it is locked, before it gives up."""


@dataclass(frozen=True)
class Claim:
    """A claimed attempt, with the rows that the engine's job is made of."""

    session: AgentRunnerSession
    runner: AgentRunner
    site: Site
    continues: AgentRunnerSession | None = None
    """The session whose conversation this one continues."""
    has_variables: bool = True
    """Whether its site or its account has any."""

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
    for _ in range(MOST_TRIES):
        found = scheduling.lock_next()
        if (found is None or found.session.id != session_id) and _expire_lease_of(session_id):
            # It may be next now.
            continue
        if found is not None:
            if scheduling.has_room(found.account, found.runner.site):
                return _begin(found, task_id)
        elif scheduling.find_next() is None:
            return None
        # The session was stopped, its site given to external workers, or the last place taken by one of these, before
        # the locks were granted.
    return None


def _expire_lease_of(session_id: uuid.UUID) -> bool:
    """Whether the lease of the session had expired."""
    expired = sa.and_(AgentRunnerSession.id == session_id, leases.expired(AgentRunnerSession))
    account_id = db.session.scalar(sa.select(AgentRunnerSession.account_id).where(expired))
    if account_id is None:
        return False
    lookup.lock_account(account_id)
    locked = lookup.lock_session(session_id)
    assert locked is not None
    repairs.expire_lease(*locked)
    return True


def _begin(found: scheduling.Next, task_id: str) -> Claim:
    found.account.last_claimed_at = db.now()
    begin(found.runner, found.session, task_id)
    before = found.session.continues_session_id
    continues = db.session.get(AgentRunnerSession, before) if before else None
    return Claim(found.session, found.runner, found.runner.site, continues, found.has_variables)


def begin(runner: AgentRunner, session: AgentRunnerSession, task_id: str | None) -> None:
    """Start the next attempt at a locked session that is NEW."""
    leases.begin(session)
    session.task_id = task_id
    session.steps_count = 0
    session.failure = session.result = session.questions = session.duration = session.taken_over_by = None
    runner.latest_session_agent = session.agent
    if runner.site.execution == Execution.EXTERNAL:
        # An external worker starts over: it does not get the work of an earlier attempt.
        session.waiting_since = session.waiting_until = None
    if not session.goes_on:
        _forget(session)
    session.started_at = db.now()
    lifecycle.enter(runner, session, SessionState.RUNNING)
    if task_id is None:
        # An external worker fetches and saves by itself, and reports only what its agent does.
        progress.enter_stage(runner, session, Stage.AGENT)
    if session.attempt > 1:
        message = f"{_restart_reason(session)} This is attempt {session.attempt}."
        progress.add_step(runner, session, "Started again", message)
    session.waiting_until = None


def _forget(session: AgentRunnerSession) -> None:
    """Remove what an earlier attempt may have reported before its worker was lost."""
    session.contains_secret = False
    for reported in (
        *("usage", "result_diff_key", "cumulative_diff_key"),
        *("conversation_key", "native_session_id", "agent_version"),
    ):
        setattr(session, reported, None)


def _restart_reason(session: AgentRunnerSession) -> str:
    """Why the attempts before this one did not finish: the model took no calls, or their workers were lost, or were
    stopped and requeued it."""
    if session.waiting_until is not None:
        return "The model should accept calls again. The session continues from its work so far."
    before, lost = session.attempt - 1, session.workers_lost
    if lost in (0, before):
        return f"The worker of attempt {before} {'was lost' if lost else 'was stopped and requeued the session'}."
    return f"Of {before} earlier attempts, {lost} lost their worker; the others were requeued."


def finish(session_id: uuid.UUID, attempt: int, state: SessionState, outcome: Outcome) -> bool:
    """End the attempt, and the session unless it waits for a quota. The outcome's diffs must be stored already.

    Returns whether the session has ended.
    """
    locked = lookup.lock_session(session_id)
    leases.check_held(locked[1] if locked else None, attempt)
    assert locked is not None
    if quota_waits.begin(*locked, outcome):
        return False
    end(*locked, state, outcome)
    return True


def end(runner: AgentRunner, session: AgentRunnerSession, state: SessionState, outcome: Outcome) -> None:
    """Move a locked session to a final state and record its outcome. DONE with a diff moves the head."""
    assert state in FINAL
    outcome.write(session)
    if session.has_result_diff or session.has_cumulative_diff:
        session.work_saved_at = db.now()
    # A rebase may find that the branch has all of the work already. Then nothing is left of the diff.
    has_work = session.work_saved_at is not None or session.mode == Mode.REBASE
    if has_work and state == SessionState.DONE:
        lifecycle.move_head(runner, session)
    lifecycle.enter(runner, session, state)


def keep_work(session_id: uuid.UUID, attempt: int, work: Work) -> bool:
    """Record the work of an attempt whose session has already ended: once for that attempt, and never its state.

    Returns whether the session now has a diff. Usage is recorded without a diff too.
    """
    locked = lookup.lock_session(session_id)
    if locked is None:
        return False
    runner, session = locked
    ended = session.state in (SessionState.CANCELLED, SessionState.ERROR)
    if session.attempt != attempt or not ended or session.work_saved_at is not None:
        return False
    session.attempt_ended_at = db.now()
    work.write(session)
    if not (session.has_result_diff or session.has_cumulative_diff):
        return False
    session.work_saved_at = db.now()
    saved = {"state": session.state.value, "attempt": attempt, "work_saved": True}
    events.record(runner, session, events.STATE, saved)
    return True


def requeue(session_id: uuid.UUID, attempt: int) -> bool:
    """Requeue the session for another worker, without counting a lost worker. False if the attempt does not hold it."""
    locked = lookup.lock_session(session_id)
    if locked is None or not leases.is_held(locked[1], attempt):
        return False
    lifecycle.requeue(*locked)
    return True


def wait_for_fetch(session_id: uuid.UUID, attempt: int) -> bool:
    """Do as `requeue` does for a session whose repository another one fetches for long. Its site's sessions fetch one at a
    time from then on, until one of them has ended."""
    site_id = db.session.scalars(sa.select(AgentRunnerSession.site_id).where(AgentRunnerSession.id == session_id)).one()
    scheduling.record_fetch(site_id, failed=True)
    return requeue(session_id, attempt)


def is_cancelled(session_id: uuid.UUID, attempt: int) -> bool:
    """Whether that attempt's session was stopped, by a caller or a budget, so that its work must be kept."""
    session = db.session.get(AgentRunnerSession, session_id)
    return session is not None and session.attempt == attempt and session.was_stopped


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
