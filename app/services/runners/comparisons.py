"""The diff between the work of any two sessions of a runner.

Where it is stored already, as the diff of a session, it is taken from there. Otherwise a control worker makes it: the
cumulative diffs may have different bases, and what they changed in the same places can be compared by git only.
"""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db
from app.errors import BadRequest, NotFound
from app.models import AgentRunner, AgentRunnerSession, Comparison, Site
from app.models.states import Mode, Scope
from app.services import control_places, lookup, short_tasks
from app.services.artifacts import diffs
from app.services.artifacts.diffs import StoredDiff
from app.services.callers import Caller

MOST_PENDING = 4
"""Of an account."""


@dataclass(frozen=True)
class Found:
    """A comparison as it is by now. `state` is pending, done or failed."""

    row: Comparison
    state: str
    failure: dict[str, Any] | None


@dataclass(frozen=True)
class Side:
    """The work of one session: its cumulative diff, and the base of that."""

    base_sha: str | None
    diff_key: str


@dataclass(frozen=True)
class Claim:
    """What a worker needs for a comparison."""

    comparison: Comparison
    runner: AgentRunner
    site: Site
    old: Side
    new: Side


def request(caller: Caller, runner_id: uuid.UUID, from_id: uuid.UUID | None, to_id: uuid.UUID) -> Found:
    """Request the diff from one session to another, or from the base if `from_id` is None. A pair has one comparison;
    one that failed is started again."""
    caller.require(Scope.READ)
    runner = lookup.get_runner(caller, runner_id, lock=True)
    new = _session_with_work(runner, "to_session_id", to_id)
    old = None if from_id is None else _session_with_work(runner, "from_session_id", from_id)
    short_tasks.forget_old(Comparison, caller.account_id)
    if (found := _find(runner, from_id, to_id)) is not None:
        if found.state != "failed":
            return found
        db.session.delete(found.row)
        db.session.flush()
    row = Comparison(
        account_id=caller.account_id, agent_runner_id=runner.id, from_session_id=from_id, to_session_id=to_id
    )
    if old is None or _is_next(old, new) or _is_same(old, new):
        row.diff_key = _stored_key(old, new)
        row.done_at = db.now()
    else:
        short_tasks.refuse_many(Comparison, caller.account_id, MOST_PENDING, error_code="too_many_comparisons")
    db.session.add(row)
    db.session.flush()
    if row.done_at is None:
        control_places.dispatch(row)
    db.session.refresh(row)
    return _found(row, row.created_at)


def get(caller: Caller, runner_id: uuid.UUID, comparison_id: uuid.UUID) -> Found:
    """A comparison of the runner; raises `NotFound`."""
    caller.require(Scope.READ)
    runner = lookup.get_runner(caller, runner_id)
    mine = (Comparison.id == comparison_id, Comparison.agent_runner_id == runner.id)
    row = db.session.execute(sa.select(Comparison, db.now()).where(*mine)).one_or_none()
    if row is None:
        message = "The agent runner has no comparison with this id. They are kept for a week; request it again."
        raise NotFound(message, error_code="comparison_not_found")
    return _found(*row)


def find_diff(caller: Caller, runner_id: uuid.UUID, comparison_id: uuid.UUID) -> StoredDiff:
    """The diff of a comparison; raises `NotFound` if there is none."""
    with db.transaction(read_only=True):
        found = get(caller, runner_id, comparison_id)
        if found.state != "done":
            message = f"The comparison is {found.state}. Poll it until it is done."
            if found.failure is not None:
                message = f"The comparison failed: {found.failure['message']} Request it again."
            raise NotFound(message, error_code="no_diff")
        return diffs.stored(found.row.diff_key)


def claim(comparison_id: uuid.UUID) -> Claim | None:
    """Claim a comparison. None means: drop the message."""
    query = sa.select(Comparison).where(Comparison.id == comparison_id)
    row = db.session.scalar(lookup.locked(query, Comparison))
    if row is None or row.from_session_id is None:
        return None
    runner = db.session.get_one(AgentRunner, row.agent_runner_id)
    old, new = (db.session.get_one(AgentRunnerSession, each) for each in (row.from_session_id, row.to_session_id))
    if not short_tasks.begin(row, runner.site):
        return None
    return Claim(row, runner, runner.site, _side(runner, old), _side(runner, new))


def succeed(comparison_id: uuid.UUID, diff_key: str | None) -> None:
    """Record the diff; `diff_key` None means that the two sessions have the same files."""
    _end(comparison_id, diff_key=diff_key)


def fail(comparison_id: uuid.UUID, code: str, message: str) -> None:
    """Record why the diff could not be made."""
    _end(comparison_id, failure={"code": code, "message": message})


def _end(comparison_id: uuid.UUID, *, diff_key: str | None = None, failure: dict[str, Any] | None = None) -> None:
    row = db.session.get(Comparison, comparison_id)
    if row is not None:
        row.diff_key, row.failure = diff_key, failure
        short_tasks.end(row)


def _session_with_work(runner: AgentRunner, field: str, session_id: uuid.UUID) -> AgentRunnerSession:
    session = lookup.get_session(runner, session_id)
    if not session.has_cumulative_diff:
        raise BadRequest(
            f"{field}: that session has no cumulative diff; choose one whose has_cumulative_diff is true",
            error_code="no_cumulative_diff",
        )
    return session


def _find(runner: AgentRunner, from_id: uuid.UUID | None, to_id: uuid.UUID) -> Found | None:
    """The comparison of the pair. The runner is locked, so there is one at most."""
    query = sa.select(Comparison, db.now()).where(
        Comparison.agent_runner_id == runner.id,
        Comparison.from_session_id.is_not_distinct_from(from_id),
        Comparison.to_session_id == to_id,
    )
    row = db.session.execute(query).one_or_none()
    return None if row is None else _found(*row)


def _is_next(old: AgentRunnerSession, new: AgentRunnerSession) -> bool:
    """Whether the result diff of `new` is the difference: it began with the files that `old` ended with."""
    continues = new.parent_session_id == old.id and new.start_diff_key == old.cumulative_diff_key
    return continues and new.mode != Mode.REBASE


def _is_same(old: AgentRunnerSession, new: AgentRunnerSession) -> bool:
    return old.cumulative_diff_key == new.cumulative_diff_key


def _stored_key(old: AgentRunnerSession | None, new: AgentRunnerSession) -> str | None:
    if old is None:
        return new.cumulative_diff_key
    return None if _is_same(old, new) else new.result_diff_key


def _side(runner: AgentRunner, session: AgentRunnerSession) -> Side:
    assert session.cumulative_diff_key is not None
    return Side(session.base_sha or runner.base_sha, session.cumulative_diff_key)


def _found(row: Comparison, now: datetime.datetime) -> Found:
    if row.done_at is not None:
        return Found(row, "failed" if row.failure else "done", row.failure)
    if short_tasks.is_lost(row, now):
        return Found(row, "failed", {"code": "comparison_expired", "message": short_tasks.LOST})
    return Found(row, "pending", None)
