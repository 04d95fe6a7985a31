"""What happened to a runner, written with the change it tells of, and read as it comes."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from app import db
from app.models import AgentRunner, AgentRunnerSession, Event

STEP, STATE, USAGE = "step", "state", "usage"


def record(session: AgentRunnerSession, kind: str, payload: dict[str, Any]) -> Event:
    """Append an event of the session's current attempt. Taking the number locks the runner's row."""
    seq = db.session.scalar(
        sa.update(AgentRunner)
        .where(AgentRunner.id == session.agent_runner_id)
        .values(last_event_seq=AgentRunner.last_event_seq + 1)
        .returning(AgentRunner.last_event_seq)
        .execution_options(synchronize_session=False)
    )
    event = Event(
        agent_runner_id=session.agent_runner_id,
        seq=seq,
        session_id=session.id,
        attempt=session.attempt,
        kind=kind,
        payload=payload,
    )
    db.session.add(event)
    return event


def record_state(session: AgentRunnerSession) -> Event:
    """Tell of the state that the session is in now."""
    return record(
        session, STATE, {"state": session.state.value, "attempt": session.attempt, "failure": session.failure}
    )


def find_after(session: AgentRunnerSession, seq: int, *, most: int = 500) -> list[Event]:
    """The session's events with a number above `seq`, in order."""
    return list(
        db.session.scalars(
            sa.select(Event)
            .where(Event.agent_runner_id == session.agent_runner_id, Event.session_id == session.id, Event.seq > seq)
            .order_by(Event.seq)
            .limit(most)
        )
    )


def steps_of(sessions: list[AgentRunnerSession]) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """The steps of each session's current attempt, in order, by session id."""
    steps: dict[uuid.UUID, list[dict[str, Any]]] = {session.id: [] for session in sessions}
    rows = db.session.scalars(
        sa.select(Event)
        .join(
            AgentRunnerSession,
            sa.and_(AgentRunnerSession.id == Event.session_id, AgentRunnerSession.attempt == Event.attempt),
        )
        .where(Event.session_id.in_(steps), Event.kind == STEP)
        .order_by(Event.seq)
    )
    for event in rows:
        assert event.session_id is not None
        steps[event.session_id].append(step_json(event))
    return steps


def step_json(event: Event) -> dict[str, Any]:
    return {"id": event.id, **event.payload, "created_at": event.created_at}
