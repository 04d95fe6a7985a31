"""The events of a runner: recorded in the transaction of the change that they describe. See `event_streams`."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from app import db
from app.config import settings
from app.models import AgentRunner, AgentRunnerSession, Event
from app.models.states import PublicationKind, PublicationState

STEP, STATE, STAGE, USAGE, PUBLICATION = "step", "state", "stage", "usage", "publication"
# Settings limit the steps that an agent reports. The system adds steps of its own, always fewer than this.
_SYSTEM_STEPS = 1000
_SYSTEM_BYTES = 1024 * 1024


def record(session: AgentRunnerSession, kind: str, payload: dict[str, Any]) -> Event:
    """Append an event of the session's current attempt. Taking the number locks the runner's row."""
    return _append(session.agent_runner_id, session.id, session.attempt, kind, payload)


def _append(
    runner_id: uuid.UUID, session_id: uuid.UUID | None, attempt: int, kind: str, payload: dict[str, Any]
) -> Event:
    seq = db.session.scalar(
        sa.update(AgentRunner)
        .where(AgentRunner.id == runner_id)
        .values(last_event_seq=AgentRunner.last_event_seq + 1)
        .returning(AgentRunner.last_event_seq)
        .execution_options(synchronize_session=False)
    )
    event = Event(
        agent_runner_id=runner_id,
        seq=seq,
        session_id=session_id,
        attempt=attempt,
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


def record_runner_state(runner: AgentRunner) -> Event:
    """Record the state of a runner that a caller changed, not one of its sessions."""
    return _append(runner.id, None, 0, STATE, {"state": runner.state.value})


def record_publication(
    runner: AgentRunner, kind: PublicationKind, state: PublicationState, session_id: uuid.UUID | None
) -> Event:
    """Record how a pull request or commit of the runner is coming along, as the runner shows it. `session_id` is the
    session whose diff it publishes."""
    if kind == PublicationKind.PULL_REQUEST:
        shown = {"error": runner.pr_error, "pr_url": runner.pr_url, "pr_state": runner.pr_state}
    else:
        shown = {"error": runner.merge_commit_error, "merge_commit_sha": runner.merge_commit_sha}
    return _append(runner.id, session_id, 0, PUBLICATION, {"publication": kind, "state": state, **shown})


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
