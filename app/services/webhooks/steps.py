"""The new steps of a session, delivered together: `session.step`, for webhooks that ask for it.

How far the steps of a session were delivered is what its last delivery says, so a crash forgets nothing. Nothing is
written when a step is recorded: what is new is found by reading.
"""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import sqlalchemy as sa

from app import db
from app.config import settings
from app.models import AgentRunnerSession, Event, Webhook, WebhookDelivery
from app.models.states import DeliveryState, SessionState, WebhookEvent, WebhookState
from app.services.events import PUBLICATION, STEP, step_json

SECONDS = 5.0
"""The shortest time between two deliveries of a session that is running."""
MOST_SHOWN = 100
MOST_BYTES_SHOWN = 64 * 1024


def find_with_news(most: int) -> list[uuid.UUID]:
    """Active webhooks that wait for nothing, and for which there are steps to deliver now. The rows are not locked."""
    idle = (Webhook.lease_expires_at.is_(None), Webhook.next_dispatch_at.is_(None))
    wanting = sa.select(Webhook).where(Webhook.steps_since.is_not(None), Webhook.state == WebhookState.ACTIVE, *idle)
    found = (webhook.id for webhook in db.session.scalars(wanting) if _find_running(webhook, db.now()) is not None)
    return [webhook_id for _, webhook_id in zip(range(most), found, strict=False)]


def find_pending(webhook: Webhook) -> WebhookDelivery | None:
    """The delivery of steps that has begun, or that a caller asked for once more. It goes before all else."""
    mine = (WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.session_id.is_not(None))
    query = sa.select(WebhookDelivery).where(*mine, WebhookDelivery.state == DeliveryState.PENDING)
    return db.session.scalar(query.order_by(WebhookDelivery.created_at).limit(1))


def begin_before(webhook: Webhook, event: Event) -> WebhookDelivery | None:
    """Begin to deliver the steps that an event of their session comes after. None: there are none."""
    if event.session_id is None or event.kind == PUBLICATION:
        # A publication comes after the end of its session, and perhaps when it is forgotten what was delivered.
        return None
    session = db.session.get_one(AgentRunnerSession, event.session_id)
    return _begin(webhook, session, Event.seq < event.seq)


def begin_of_running(webhook: Webhook, until: datetime.datetime) -> WebhookDelivery | None:
    """Begin to deliver the steps of a running session that were recorded before `until`. None: not now."""
    session = _find_running(webhook, until)
    return None if session is None else _begin(webhook, session, Event.created_at < until)


def data(webhook: Webhook, delivery: WebhookDelivery) -> dict[str, Any]:
    """What the message says of the steps, in addition to the ids. With `full`, the first of them, and how many are
    left out."""
    assert delivery.session_id is not None and delivery.first_seq is not None
    event = db.session.get_one(Event, delivery.event_id)
    place = f"/agent_runners/{event.agent_runner_id}/sessions/{delivery.session_id}"
    mine = _steps(event.agent_runner_id, delivery.session_id)
    mine = mine.where(Event.seq.between(delivery.first_seq, delivery.last_seq))
    count = db.session.scalars(mine.with_only_columns(sa.func.count(Event.id))).one()
    found: dict[str, Any] = {
        "steps_count": count,
        "first_seq": delivery.first_seq,
        "last_seq": delivery.last_seq,
        "url": f"{settings().public_url}/api/v1{place}",
    }
    if webhook.full:
        found["steps"] = _shown(mine)
        found["steps_left_out"] = count - len(found["steps"])
    return found


def _shown(query: sa.Select[Event]) -> list[dict[str, Any]]:
    """The first steps, as the API shows them, of a bounded number and size."""
    shown: list[dict[str, Any]] = []
    room = MOST_BYTES_SHOWN
    for event in db.session.scalars(query.order_by(Event.seq).limit(MOST_SHOWN)):
        room -= sum(len(text.encode()) for text in event.payload.values() if text)
        if room < 0:
            break
        step = step_json(event)
        shown.append({**step, "id": str(step["id"]), "created_at": event.created_at.isoformat()})
    return shown


def _find_running(webhook: Webhook, until: Any) -> AgentRunnerSession | None:
    """The running session with steps to deliver whose last delivery is the longest ago, and long enough."""
    delivered = (WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.session_id == AgentRunnerSession.id)
    # Of a long session there are thousands, so only the last one is read.
    last = sa.select(WebhookDelivery).where(*delivered).order_by(WebhookDelivery.last_seq.desc()).limit(1)
    last_at, seq = (
        last.with_only_columns(column).scalar_subquery()
        for column in (WebhookDelivery.created_at, WebhookDelivery.last_seq)
    )
    new = _steps(AgentRunnerSession.agent_runner_id, AgentRunnerSession.id)
    new = new.where(Event.seq > sa.func.coalesce(seq, 0), Event.created_at.between(webhook.steps_since, until))
    running = sa.select(AgentRunnerSession).where(
        AgentRunnerSession.account_id == webhook.account_id, AgentRunnerSession.state == SessionState.RUNNING
    )
    if webhook.site_id is not None:
        running = running.where(AgentRunnerSession.site_id == webhook.site_id)
    waited = sa.or_(last_at.is_(None), last_at < db.now(-SECONDS))
    order = (last_at.is_not(None), last_at, AgentRunnerSession.id)
    return db.session.scalar(running.where(new.exists(), waited).order_by(*order).limit(1))


def _begin(webhook: Webhook, session: AgentRunnerSession, limit: sa.ColumnElement[bool]) -> WebhookDelivery | None:
    """A delivery of all steps of the session that are new and within the limit. It is pending from now on."""
    delivered = (WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.session_id == session.id)
    seq = db.session.scalar(sa.select(sa.func.max(WebhookDelivery.last_seq)).where(*delivered)) or 0
    new = _steps(session.agent_runner_id, session.id)
    new = new.where(Event.seq > seq, Event.created_at >= webhook.steps_since, limit)
    first = db.session.scalar(new.order_by(Event.seq).limit(1))
    last = db.session.scalar(new.order_by(Event.seq.desc()).limit(1))
    if first is None or last is None:
        return None
    delivery = WebhookDelivery(
        webhook_id=webhook.id,
        event_id=last.id,
        event_type=WebhookEvent.SESSION_STEP,
        session_id=session.id,
        first_seq=first.seq,
        last_seq=last.seq,
    )
    db.session.add(delivery)
    db.session.flush()
    return delivery


def _steps(runner_id: Any, session_id: Any) -> sa.Select[Event]:
    """The steps of a session. Its runner's id is what the index over numbers begins with."""
    return sa.select(Event).where(
        Event.agent_runner_id == runner_id, Event.session_id == session_id, Event.kind == STEP
    )
