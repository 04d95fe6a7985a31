"""The related data that a list shows for each runner, read for all of them at once."""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db
from app.models import AgentRunner, AgentRunnerSession, User
from app.models.states import Mode, SessionState


def contributors(runners: list[AgentRunner]) -> dict[uuid.UUID, list[User]]:
    """The users who requested sessions of each runner, in order of their first session."""
    # Each user once, however many sessions a runner has.
    first = sa.func.min(AgentRunnerSession.created_at)
    requested = (
        sa.select(AgentRunnerSession.agent_runner_id, AgentRunnerSession.user_id, first.label("first"))
        .where(AgentRunnerSession.agent_runner_id.in_([runner.id for runner in runners]))
        .group_by(AgentRunnerSession.agent_runner_id, AgentRunnerSession.user_id)
        .subquery()
    )
    rows = sa.select(requested.c.agent_runner_id, User).join(requested, requested.c.user_id == User.id)
    found: dict[uuid.UUID, list[User]] = {runner.id: [] for runner in runners}
    for runner_id, user in db.session.execute(rows.order_by(requested.c.first, User.id)):
        found[runner_id].append(user)
    return found


@dataclass(frozen=True)
class LatestSession:
    """What a list shows of a runner's newest session."""

    id: uuid.UUID
    state: SessionState
    mode: Mode
    attached_file_keys: list[str]
    agent: str
    failure: dict[str, Any] | None
    started_at: datetime.datetime | None
    duration: int | None


def latest_sessions(runners: list[AgentRunner]) -> dict[uuid.UUID, LatestSession]:
    """The newest session of each runner, by runner id. Its prompt and its result, which may be long, are not read."""
    session = AgentRunnerSession
    shown = (session.id, session.state, session.mode, session.attached_file_keys)
    columns = (*shown, session.agent, session.failure, session.started_at, session.duration)
    ids = [runner.latest_session_id for runner in runners]
    return {
        runner_id: LatestSession(*row)
        for runner_id, *row in db.session.execute(
            sa.select(session.agent_runner_id, *columns).where(session.id.in_(ids))
        )
    }


def usage(runners: list[AgentRunner]) -> dict[uuid.UUID, dict[str, float]]:
    """The total usage of all sessions of each runner. A number that no session reported is left out.

    Costs are rounded to a millionth of a dollar: sums of binary fractions have more digits than they should.
    """
    rows = db.session.execute(
        sa.select(AgentRunnerSession.agent_runner_id, AgentRunnerSession.usage).where(
            AgentRunnerSession.agent_runner_id.in_([runner.id for runner in runners]),
            AgentRunnerSession.state != SessionState.NEW,
        )
    )
    totals: dict[uuid.UUID, dict[str, float]] = {runner.id: {} for runner in runners}
    for runner_id, used in rows:
        for name, number in (used or {}).items():
            if number is not None:
                totals[runner_id][name] = round(totals[runner_id].get(name, 0) + number, 6)
    return totals
