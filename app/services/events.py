"""The events of a runner: recorded in the transaction of the change that they describe. See `event_streams`."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from app import db
from app.config import settings
from app.models import AgentRunner, AgentRunnerSession, Event
from app.models.states import UNCATEGORIZED, BudgetPeriod, PublicationKind, PublicationState

STEP, STATE, STAGE, USAGE, PUBLICATION, BUDGET = "step", "state", "stage", "usage", "publication", "budget"
OF_ACCOUNT = (STATE, PUBLICATION, BUDGET)
"""The kinds that the account's stream and webhooks carry. An index of the table has these alone."""
# Settings limit the steps that an agent reports. The system adds steps of its own, always fewer than this.
_SYSTEM_STEPS = 1000
_SYSTEM_BYTES = 1024 * 1024


def record(runner: AgentRunner, session: AgentRunnerSession, kind: str, payload: dict[str, Any]) -> None:
    """Append an event of the session's current attempt. The runner's row is locked, as for all that follow."""
    db.session.add(_new(runner, session.id, session.attempt, kind, payload))


def _new(runner: AgentRunner, session_id: uuid.UUID | None, attempt: int, kind: str, payload: dict[str, Any]) -> Event:
    runner.last_event_seq += 1
    return Event(
        agent_runner_id=runner.id,
        seq=runner.last_event_seq,
        session_id=session_id,
        attempt=attempt,
        kind=kind,
        payload=payload,
    )


def new_state(runner: AgentRunner, session: AgentRunnerSession) -> Event:
    """The event of the state that the session is in now, which the caller stores. The runner is locked or new."""
    payload: dict[str, Any] = {"state": session.state.value, "attempt": session.attempt, "failure": session.failure}
    if session.questions:
        payload["questions"] = session.questions
    return _new(runner, session.id, session.attempt, STATE, payload)


def record_runner_state(runner: AgentRunner) -> None:
    """Record the state of a runner that a caller changed, not one of its sessions."""
    db.session.add(_new(runner, None, 0, STATE, {"state": runner.state.value}))


def record_publication(
    runner: AgentRunner, kind: PublicationKind, state: PublicationState, session_id: uuid.UUID | None
) -> None:
    """Record how a pull request or commit of the runner is coming along, as the runner shows it. `session_id` is the
    session whose diff it publishes."""
    if kind == PublicationKind.PULL_REQUEST:
        shown = {"error": runner.pr_error, "pr_url": runner.pr_url, "pr_state": runner.pr_state}
    else:
        shown = {"error": runner.merge_commit_error, "merge_commit_sha": runner.merge_commit_sha}
    db.session.add(_new(runner, session_id, 0, PUBLICATION, {"publication": kind, "state": state, **shown}))


def budget_payload(
    whose: str, message: str, budget_id: uuid.UUID | None = None, period: BudgetPeriod | None = None
) -> dict[str, Any]:
    """What the event says of a budget of which most is used. The session's own has neither an id nor a period."""
    return {"budget": whose, "budget_id": budget_id and str(budget_id), "period": period, "message": message}


def has_warned(session_id: uuid.UUID) -> bool:
    """Whether there is an event that most of the session's own budget is used."""
    payloads = sa.select(Event.payload).where(Event.session_id == session_id, Event.kind == BUDGET)
    return any(each["budget"] == "session" for each in db.session.scalars(payloads))


def steps_of(sessions: list[AgentRunnerSession]) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """The steps of each session's current attempt, in order, by session id.

    All of them together are limited in number and size as those of one session are. The first sessions have all of
    their steps; what exceeds the limit at the end is left out.
    """
    steps: dict[uuid.UUID, list[dict[str, Any]]] = {session.id: [] for session in sessions}
    places = {session.id: place for place, session in enumerate(sessions) if session.steps_count}
    if not places:
        return steps
    room = settings().max_steps_bytes + _SYSTEM_BYTES
    query = (
        sa.select(Event)
        .join(
            AgentRunnerSession,
            sa.and_(AgentRunnerSession.id == Event.session_id, AgentRunnerSession.attempt == Event.attempt),
        )
        .where(Event.session_id.in_(places), Event.kind == STEP)
        .order_by(sa.case(places, value=Event.session_id), Event.seq)
        .limit(settings().max_steps + _SYSTEM_STEPS)
    )
    # Rows are loaded a few at a time, so that hardly more is read than there is room for.
    with db.session.scalars(query, execution_options={"yield_per": 100}) as rows:
        for event in rows:
            room -= sum(len(text.encode()) for text in event.payload.values() if text)
            if room < 0:
                break
            assert event.session_id is not None
            steps[event.session_id].append(step_json(event))
    return steps


def step_json(event: Event) -> dict[str, Any]:
    return {"id": event.id, **UNCATEGORIZED, **event.payload, "created_at": event.created_at}
