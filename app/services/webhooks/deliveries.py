"""Delivers events to webhooks, in their order: what is next for a webhook, and what happened to it.

A webhook is a reader of the account's events. It continues to the next event when one was delivered, or could not be for a
day. So a receiver that does not answer delays only itself, and nothing is forgotten in a crash: what was sent, but
not recorded, is sent again with the same id.
"""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass

import sqlalchemy as sa

from app import database_changes, db, queue
from app.models import AgentRunner, Event, Webhook, WebhookDelivery
from app.models.states import DeliveryState, WebhookState
from app.services import control_places, last_runs, leases, lookup
from app.services.event_streams import AccountEvents, Cursor
from app.services.events import OF_ACCOUNT
from app.services.webhooks import emails, messages, steps
from app.services.webhooks.messages import Message

EVENT_SECONDS = 86_400.0
"""For how long an event is tried."""
DISABLED_AFTER_SECONDS = 7 * 86_400.0
# Transactions become visible some time after the time of their events.
_OVERLAP_SECONDS = 3600.0
KEPT_SECONDS = 30 * 86_400.0
_WAITS = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)


@dataclass(frozen=True)
class Answer:
    """What the receiver answered. Without a `status` there was no answer, and `error` says why."""

    status: int | None
    error: str | None = None
    is_gone: bool = False
    """Whether the receiver wants no more, or does not exist: the webhook is disabled."""

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def claim(webhook_id: uuid.UUID) -> int | None:
    """Claim a webhook, and return the attempt. None: drop the message."""
    webhook = _lock(webhook_id)
    if webhook is None or webhook.state != WebhookState.ACTIVE or leases.is_live(webhook):
        return None
    if not control_places.has_room(webhook.account_id, is_slow=webhook.failing_since is not None):
        return None
    leases.begin(webhook)
    db.session.flush()
    return webhook.attempt


def next_message(webhook_id: uuid.UUID, attempt: int) -> Message | None:
    """The message that is to be sent next, which is recorded as pending. None: there is none now, and the lease has ended.

    Raises LeaseLost.
    """
    webhook = _held(webhook_id, attempt)
    if wait := emails.seconds_to_wait(webhook):
        leases.release(webhook, dispatch_in=wait)
        return None
    if again := _find_replay(webhook):
        return messages.compose(webhook, db.session.get_one(Event, again.event_id), again, None)
    if pending := steps.find_pending(webhook):
        return _of_steps(webhook, pending)
    position = Cursor.parse(webhook.position)
    settled = database_changes.settled_until() if webhook.steps_since else None
    # Events of no interest are passed over, a page at a time.
    while True:
        found = AccountEvents(webhook.account_id).read_after(position)
        for place, event in found.events:
            assert isinstance(place, Cursor)
            has_steps = webhook.steps_since is not None and messages.is_of_site(webhook, event)
            if has_steps and (earlier := steps.begin_before(webhook, event)):
                webhook.position = str(position)
                return _of_steps(webhook, earlier)
            if messages.is_wanted(webhook, event):
                return messages.compose(webhook, event, _delivery_of(webhook, event), str(place))
            position = place
        webhook.position = str(position)
        if found.is_all or not found.events:
            # All events before that time were passed, so these steps come after those of their runner.
            if settled and (new := steps.begin_of_running(webhook, settled)):
                return _of_steps(webhook, new)
            leases.release(webhook)
            return None


def _of_steps(webhook: Webhook, delivery: WebhookDelivery) -> Message:
    event = db.session.get_one(Event, delivery.event_id)
    return messages.compose(webhook, event, delivery, None)


def record(webhook_id: uuid.UUID, attempt: int, message: Message, answer: Answer) -> bool:
    """Record how a message was answered. Returns whether to continue with the next; if not, the lease has ended.

    Raises LeaseLost.
    """
    webhook = _held(webhook_id, attempt)
    delivery = db.session.get(WebhookDelivery, message.delivery_id)
    if delivery is None:
        # The runner that it tells of was purged meanwhile.
        return True
    delivery.tries += 1
    delivery.status, delivery.error = answer.status, answer.error
    delivery.tried_at = db.now()
    if answer.is_success:
        delivery.state, webhook.failing_since = DeliveryState.DELIVERED, None
        webhook.position = message.position or webhook.position
        return True
    return _fail(webhook, delivery, message, answer)


def _fail(webhook: Webhook, delivery: WebhookDelivery, message: Message, answer: Answer) -> bool:
    now = webhook.locked_at
    assert now is not None
    webhook.failing_since = webhook.failing_since or now
    if answer.is_gone:
        _disable(webhook, delivery, answer.error or "The receiver is gone.")
        return False
    if now - webhook.failing_since > datetime.timedelta(seconds=DISABLED_AFTER_SECONDS):
        _disable(webhook, delivery, "Nothing could be delivered for a week.")
        return False
    if now - delivery.created_at > datetime.timedelta(seconds=EVENT_SECONDS):
        delivery.state = DeliveryState.FAILED
        webhook.position = message.position or webhook.position
        return True
    leases.release(webhook, dispatch_in=_WAITS[min(delivery.tries - 1, len(_WAITS) - 1)])
    return False


def _disable(webhook: Webhook, delivery: WebhookDelivery, reason: str) -> None:
    webhook.state, webhook.disabled_reason = WebhookState.DISABLED, reason
    delivery.state = DeliveryState.FAILED
    leases.release(webhook)


def pause(webhook_id: uuid.UUID, attempt: int) -> None:
    """End the lease although there is more to send, which follows at once: other webhooks have their turn before it."""
    leases.release(_held(webhook_id, attempt), dispatch_in=0.0)


def find_due(most: int) -> list[uuid.UUID]:
    """Webhooks whose worker was lost, that are to be tried again, or that have news. The rows are not locked."""
    with_news = dict.fromkeys([*_find_with_news(most), *steps.find_with_news(most)])
    return [*leases.find_expired(Webhook, most), *leases.find_due(Webhook, most), *with_news]


def repair(webhook_id: uuid.UUID) -> None:
    """Dispatch a webhook that is due. A lost worker does not count against it: its receiver is not to blame."""
    webhook = _lock(webhook_id)
    if webhook is None or webhook.state != WebhookState.ACTIVE or leases.is_live(webhook):
        return
    if leases.has_expired(webhook):
        leases.release(webhook)
    leases.dispatch(webhook, queue.DELIVER_WEBHOOK)


def forget_old() -> None:
    """Delete what was delivered or given up a month ago."""
    old = (WebhookDelivery.created_at < db.now(-KEPT_SECONDS), WebhookDelivery.state != DeliveryState.PENDING)
    db.session.execute(sa.delete(WebhookDelivery).where(*old))


def _find_with_news(most: int) -> list[uuid.UUID]:
    """Active webhooks that wait for nothing, whose account has events after their position.

    Only those of accounts with events since the sweep before this one are looked at. A webhook of a quiet account has an
    old position, and all that happened since in other accounts would be read for it.
    """
    age = last_runs.age(last_runs.SWEEP)
    is_recent = sa.true() if age is None else Event.created_at > db.now(-age - _OVERLAP_SECONDS)
    changed = sa.select(AgentRunner.account_id).join(Event, Event.agent_runner_id == AgentRunner.id)
    changed = changed.where(Event.kind.in_(OF_ACCOUNT), is_recent)
    idle = (
        Webhook.state == WebhookState.ACTIVE,
        Webhook.lease_expires_at.is_(None),
        Webhook.next_dispatch_at.is_(None),
    )
    found = []
    for webhook in db.session.scalars(sa.select(Webhook).where(*idle, Webhook.account_id.in_(changed))):
        position = Cursor.parse(webhook.position)
        after = sa.tuple_(sa.literal(position.time, db.Timestamp()), sa.literal(position.event_id, sa.Uuid()))
        news = (
            sa.select(Event.id)
            .join(AgentRunner, AgentRunner.id == Event.agent_runner_id)
            .where(AgentRunner.account_id == webhook.account_id, Event.kind.in_(OF_ACCOUNT))
            .where(sa.tuple_(Event.created_at, Event.id) > after)
        )
        if db.session.scalar(sa.select(news.exists())):
            found.append(webhook.id)
            if len(found) == most:
                break
    return found


def _lock(webhook_id: uuid.UUID) -> Webhook | None:
    return db.session.scalar(lookup.locked(sa.select(Webhook).where(Webhook.id == webhook_id), Webhook))


def _held(webhook_id: uuid.UUID, attempt: int) -> Webhook:
    webhook = _lock(webhook_id)
    leases.check_held(webhook, attempt)
    assert webhook is not None
    return webhook


def _find_replay(webhook: Webhook) -> WebhookDelivery | None:
    """A delivery that a caller asked for once more. That of the event that is next is pending too, but not one of them."""
    position = Cursor.parse(webhook.position)
    before = sa.tuple_(sa.literal(position.time, db.Timestamp()), sa.literal(position.event_id, sa.Uuid()))
    query = (
        sa.select(WebhookDelivery)
        .join(Event, Event.id == WebhookDelivery.event_id)
        .where(WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.state == DeliveryState.PENDING)
        .where(WebhookDelivery.session_id.is_(None))
        .where(sa.tuple_(Event.created_at, Event.id) <= before)
    )
    return db.session.scalar(query.order_by(WebhookDelivery.created_at).limit(1))


def _delivery_of(webhook: Webhook, event: Event) -> WebhookDelivery:
    mine = (WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.event_id == event.id)
    found = db.session.scalar(sa.select(WebhookDelivery).where(*mine))
    if found is None:
        found = WebhookDelivery(webhook_id=webhook.id, event_id=event.id, event_type=messages.type_of(event))
        db.session.add(found)
        db.session.flush()
    return found
