"""What a user has looked at: the outcomes of runners, and files of their diffs."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable

import sqlalchemy as sa

from app import db
from app.models import AgentRunner, Look
from app.models.states import RunnerState, Scope
from app.services import lookup
from app.services.callers import Caller

NEWS = datetime.timedelta(days=14)
"""Work that was done longer ago is not new any more, looked at or not."""
_KEY = (Look.user_id, Look.agent_runner_id, Look.digest)


def find_news(caller: Caller, runners: Iterable[AgentRunner]) -> set[uuid.UUID]:
    """Those of the runners that are DONE and that the caller has not looked at since."""
    since = datetime.datetime.now(datetime.UTC) - NEWS
    done = {
        runner.id: runner.done_at
        for runner in runners
        if runner.state == RunnerState.DONE and runner.done_at and runner.done_at > since
    }
    if not done:
        return set()
    mine = (Look.user_id == caller.user_id, Look.digest == "", Look.agent_runner_id.in_(done))
    seen = {
        row.agent_runner_id: row.at for row in db.session.execute(sa.select(Look.agent_runner_id, Look.at).where(*mine))
    }
    return {runner_id for runner_id, done_at in done.items() if runner_id not in seen or seen[runner_id] < done_at}


def look_at(caller: Caller, runner_id: uuid.UUID) -> None:
    """Record that the caller looks at the runner now."""
    caller.require(Scope.READ)
    _record(caller, lookup.get_runner(caller, runner_id).id, "")


def find_viewed(caller: Caller, runner_id: uuid.UUID) -> set[str]:
    """The digests of the runner's files that the caller has marked as viewed."""
    caller.require(Scope.READ)
    mine = (Look.user_id == caller.user_id, Look.agent_runner_id == runner_id, Look.digest != "")
    return set(db.session.scalars(sa.select(Look.digest).where(*mine)))


def mark(caller: Caller, runner_id: uuid.UUID, digest: str, *, is_viewed: bool) -> None:
    """Mark a file of the runner as viewed by the caller, or remove the mark."""
    caller.require(Scope.READ)
    runner = lookup.get_runner(caller, runner_id)
    if is_viewed:
        _record(caller, runner.id, digest)
    else:
        mine = (Look.user_id == caller.user_id, Look.agent_runner_id == runner.id, Look.digest == digest)
        db.session.execute(sa.delete(Look).where(*mine))


def _record(caller: Caller, runner_id: uuid.UUID, digest: str) -> None:
    values = {"user_id": caller.user_id, "agent_runner_id": runner_id, "digest": digest, "at": db.now()}
    insert = db.insert(Look).values(**values)
    db.session.execute(insert.on_conflict_do_update(index_elements=_KEY, set_={"at": db.now()}))
