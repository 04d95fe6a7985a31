"""The related data that a list shows for each runner, read for all of them at once."""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from app import db
from app.models import AgentRunner, AgentRunnerSession, User
from app.models.states import Mode, SessionState


@dataclass(frozen=True)
class LatestSession:
    """What a list shows of a runner's newest session."""

    id: uuid.UUID
    state: SessionState
    mode: Mode
    attached_file_keys: list[str]
    agent: str
    taken_over_by: dict[str, Any] | None
    failure: dict[str, Any] | None
    started_at: datetime.datetime | None
    duration: int | None


def latest_sessions(runners: list[AgentRunner]) -> dict[uuid.UUID, LatestSession]:
    """The newest session of each runner, by runner id. Its prompt and its result, which may be long, are not read."""
    session = AgentRunnerSession
    shown = (session.id, session.state, session.mode, session.attached_file_keys)
    columns = (*shown, session.agent, session.taken_over_by, session.failure, session.started_at, session.duration)
    ids = [runner.latest_session_id for runner in runners]
    return {
        runner_id: LatestSession(*row)
        for runner_id, *row in db.session.execute(
            sa.select(session.agent_runner_id, *columns).where(session.id.in_(ids))
        )
    }


@dataclass(frozen=True)
class Totals:
    """What all sessions of a runner come to."""

    usage: dict[str, float] = field(default_factory=dict)
    """A number that no session reported is left out. Costs are rounded to a millionth of a dollar: sums of binary
    fractions have more digits than they should."""
    contributors: list[User] = field(default_factory=list)
    """The users who requested the sessions, in order of their first one."""


def totals(runners: list[AgentRunner]) -> dict[uuid.UUID, Totals]:
    """The totals of each runner, by runner id."""
    session = AgentRunnerSession
    rows = db.session.execute(
        sa.select(session.agent_runner_id, session.user_id, session.state, session.usage)
        .where(session.agent_runner_id.in_([runner.id for runner in runners]))
        .order_by(session.created_at, session.user_id)
    )
    found = {runner.id: Totals() for runner in runners}
    # Each user once, in order.
    requested: dict[uuid.UUID, dict[uuid.UUID, None]] = {runner.id: {} for runner in runners}
    for runner_id, user_id, state, used in rows:
        requested[runner_id][user_id] = None
        if state != SessionState.NEW:
            _add(found[runner_id].usage, used or {})
    # Few runners have sessions of others than the user who created them, who was read with the runner.
    users = {runner.user_id: runner.user for runner in runners}
    if others := {user_id for ids in requested.values() for user_id in ids} - users.keys():
        users |= {user.id: user for user in db.session.scalars(sa.select(User).where(User.id.in_(others)))}
    for runner_id, ids in requested.items():
        found[runner_id].contributors.extend(users[user_id] for user_id in ids)
    return found


def _add(usage: dict[str, float], used: dict[str, Any]) -> None:
    for name, number in used.items():
        if number is not None:
            usage[name] = round(usage.get(name, 0) + number, 6)
