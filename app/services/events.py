"""The events of a runner: recorded in the transaction of the change that they describe, and read in order."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app import db
from app.config import settings
from app.models import AgentRunner, AgentRunnerSession, Event
from app.models.states import Scope, SessionState
from app.services import lookup
from app.services.callers import Caller

STEP, STATE, STAGE, USAGE = "step", "state", "stage", "usage"
MOST_AT_ONCE = 500
# Settings limit the steps that an agent reports. The system adds steps of its own, always fewer than this.
_SYSTEM_STEPS = 1000
_SYSTEM_BYTES = 1024 * 1024


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
    """Record the state that the session is in now."""
    return record(
        session, STATE, {"state": session.state.value, "attempt": session.attempt, "failure": session.failure}
    )


def find_after(session: AgentRunnerSession, seq: int, *, most: int = MOST_AT_ONCE) -> list[Event]:
    """The session's events with a number above `seq`, in order."""
    return list(
        db.session.scalars(
            sa.select(Event)
            .where(Event.agent_runner_id == session.agent_runner_id, Event.session_id == session.id, Event.seq > seq)
            .order_by(Event.seq)
            .limit(most)
        )
    )


@dataclass(frozen=True)
class EventBatch:
    """Some events of a session, and the state that it is in. `is_last` says that no more events will follow."""

    events: list[Event]
    state: SessionState
    is_last: bool


def read_after(caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID, seq: int) -> EventBatch:
    """The events of the caller's session after the one with that number."""
    caller.require(Scope.READ)
    # The state is read before the events, so that no event is missed when the state read is final.
    session = lookup.get_session(lookup.get_runner(caller, runner_id), session_id)
    found = find_after(session, seq, most=MOST_AT_ONCE)
    return EventBatch(found, session.state, not session.is_active and len(found) < MOST_AT_ONCE)


def steps_of(sessions: list[AgentRunnerSession]) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """The steps of each session's current attempt, in order, by session id.

    All of them together are limited in number and size as those of one session are. The first sessions have all of
    their steps; what exceeds the limit at the end is left out.
    """
    steps: dict[uuid.UUID, list[dict[str, Any]]] = {session.id: [] for session in sessions}
    if not sessions:
        return steps
    room = settings().max_steps_bytes + _SYSTEM_BYTES
    places = {session.id: place for place, session in enumerate(sessions)}
    query = (
        sa.select(Event)
        .join(
            AgentRunnerSession,
            sa.and_(AgentRunnerSession.id == Event.session_id, AgentRunnerSession.attempt == Event.attempt),
        )
        .where(Event.session_id.in_(steps), Event.kind == STEP)
        .order_by(sa.case(places, value=Event.session_id), Event.seq)
        .limit(settings().max_steps + _SYSTEM_STEPS)
    )
    # Rows are loaded a few at a time, so that hardly more is read than there is room for.
    with db.session.scalars(query, execution_options={"yield_per": 100}) as rows:
        for event in rows:
            room -= sum(len(text.encode()) for text in event.payload.values())
            if room < 0:
                break
            assert event.session_id is not None
            steps[event.session_id].append(step_json(event))
    return steps


def step_json(event: Event) -> dict[str, Any]:
    return {"id": event.id, **event.payload, "created_at": event.created_at}
