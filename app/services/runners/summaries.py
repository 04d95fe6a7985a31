"""The related data that a list shows for each runner, read for all of them at once."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from app import db
from app.models import AgentRunner, AgentRunnerSession, User
from app.models.states import SessionState


def contributors(runners: list[AgentRunner]) -> dict[uuid.UUID, list[User]]:
    """The users who requested sessions of each runner, in order of their first session."""
    rows = db.session.execute(
        sa.select(AgentRunnerSession.agent_runner_id, User)
        .join(User, User.id == AgentRunnerSession.user_id)
        .where(AgentRunnerSession.agent_runner_id.in_([runner.id for runner in runners]))
        .order_by(AgentRunnerSession.created_at, AgentRunnerSession.id)
    )
    found: dict[uuid.UUID, dict[uuid.UUID, User]] = {runner.id: {} for runner in runners}
    for runner_id, user in rows:
        found[runner_id][user.id] = user
    return {runner_id: list(users.values()) for runner_id, users in found.items()}


def latest_sessions(runners: list[AgentRunner]) -> dict[uuid.UUID, AgentRunnerSession]:
    """The newest session of each runner, by runner id."""
    ids = [runner.latest_session_id for runner in runners]
    rows = db.session.scalars(sa.select(AgentRunnerSession).where(AgentRunnerSession.id.in_(ids)))
    return {session.agent_runner_id: session for session in rows}


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
