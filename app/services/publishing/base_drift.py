"""How far the branch of a runner has moved since its base, and whether its diff still merges. A task measures it, when a
caller requests that and when somebody reads a runner whose values are old."""

from __future__ import annotations

import datetime
import uuid

import sqlalchemy as sa

from app import db, queue
from app.config import settings
from app.errors import Conflict
from app.models import AgentRunner
from app.models.states import PullRequestState, Scope
from app.services import events, lookup
from app.services.callers import Caller
from app.services.publishing import pull_requests
from app.services.runners.guards import refuse_archived

MOST_IN_BACKGROUND = 20
"""How many refreshes of an account may be in progress before reading a runner requests no further one."""


def request_refresh(caller: Caller, runner_id: uuid.UUID) -> AgentRunner:
    """Have the drift of the runner measured, and its pull request looked at, soon. Repeated requests are one."""
    caller.require(Scope.WRITE)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    refuse_archived(runner)
    if runner.base_sha is None or runner.branch is None:
        message = "The agent runner has no base commit yet. Wait until its first session has begun."
        raise Conflict(message, error_code="no_base")
    runner.refresh_due_at = runner.refresh_requested_at = runner.pr_check_due_at = db.now()
    db.session.flush()
    db.session.refresh(runner)
    _send()
    return runner


def refresh_if_stale(runner: AgentRunner) -> None:
    """Have a runner that was read refreshed if its values are old, once the transaction in progress is over.

    Only runners whose diff may still be merged are, each at most once in `refresh_seconds`, and few of an account at once.
    The answer in progress shows the old values.
    """
    # The time of this process only spares statements. The database's decides.
    oldest = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=settings().refresh_seconds)
    if not settings().refresh_seconds or runner.is_being_refreshed or not _may_be_merged(runner):
        return
    times = (runner.done_at, runner.refresh_requested_at)
    if all(time is None or time < oldest for time in times):
        runner_id, account_id = runner.id, runner.account_id
        db.after_commit(lambda: _request_in_background(runner_id, account_id))


def _may_be_merged(runner: AgentRunner) -> bool:
    """Whether it matters to a runner how far its branch has moved."""
    is_decided = runner.is_archived or runner.pr_state in (PullRequestState.MERGED, PullRequestState.CLOSED)
    is_idle = runner.done_at is not None
    has_base = runner.base_sha is not None and runner.branch is not None
    return runner.has_result_diff and has_base and is_idle and not is_decided


def _request_in_background(runner_id: uuid.UUID, account_id: uuid.UUID) -> None:
    oldest = db.now(-settings().refresh_seconds)
    in_progress = sa.select(sa.func.count()).where(
        AgentRunner.account_id == account_id, AgentRunner.refresh_due_at.is_not(None)
    )
    is_stale = sa.or_(AgentRunner.refresh_requested_at.is_(None), AgentRunner.refresh_requested_at < oldest)
    due = sa.update(AgentRunner).where(AgentRunner.id == runner_id, AgentRunner.refresh_due_at.is_(None), is_stale)
    # Nothing that callers would notice has changed yet.
    values = {"refresh_due_at": db.now(), "refresh_requested_at": db.now(), "updated_at": AgentRunner.updated_at}
    with db.transaction():
        if db.session.scalars(in_progress).one() >= MOST_IN_BACKGROUND:
            return
        written = db.session.execute(due.values(**values).returning(AgentRunner.id))
        if written.one_or_none() is not None:
            _send()


def _send() -> None:
    db.after_commit(lambda: queue.send(queue.CHECK_PULL_REQUESTS, expires=pull_requests.EVERY_SECONDS))


def record(check: pull_requests.Check, behind_by: int, conflicts: list[str]) -> None:
    """Record what was measured, unless the runner has another base or diff by now: then it is measured again."""
    measured = sa.select(AgentRunner).where(
        AgentRunner.id == check.runner_id,
        AgentRunner.base_sha == check.base_sha,
        AgentRunner.diff_key.is_not_distinct_from(check.diff_key),
    )
    runner = db.session.scalar(lookup.locked(measured, AgentRunner))
    if runner is not None:
        runner.behind_by, runner.mergeable, runner.conflicts = behind_by, not conflicts, conflicts
        runner.refreshed_at, runner.refresh_due_at, runner.refresh_error = db.now(), None, None
        events.record_runner_state(runner)


def record_failure(runner_id: uuid.UUID, error: str) -> None:
    """End a refresh that failed. What was measured before stays."""
    runner = db.session.scalar(lookup.locked(sa.select(AgentRunner).where(AgentRunner.id == runner_id), AgentRunner))
    if runner is not None:
        runner.refresh_due_at, runner.refresh_error = None, error
        events.record_runner_state(runner)
