"""What webhooks send: which events they are about, and what the message of one says."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app import db, keys
from app.config import settings
from app.models import AgentRunner, Event, Webhook, WebhookDelivery
from app.models.states import WebhookEvent, WebhookFormat
from app.services.events import BUDGET, PUBLICATION, STATE
from app.services.webhooks import formats, steps

_TYPES: Mapping[tuple[str, str, bool], WebhookEvent] = {
    # The kind of the event, the state in it, and whether it is about a session.
    (STATE, "RUNNING", True): WebhookEvent.SESSION_STARTED,
    (STATE, "DONE", True): WebhookEvent.SESSION_DONE,
    (STATE, "ERROR", True): WebhookEvent.SESSION_ERROR,
    (STATE, "CANCELLED", True): WebhookEvent.SESSION_CANCELLED,
    (STATE, "ARCHIVED", False): WebhookEvent.RUNNER_ARCHIVED,
    (PUBLICATION, "done", True): WebhookEvent.PUBLICATION_SUCCEEDED,
    (PUBLICATION, "done", False): WebhookEvent.PUBLICATION_SUCCEEDED,
    (PUBLICATION, "failed", True): WebhookEvent.PUBLICATION_FAILED,
    (PUBLICATION, "failed", False): WebhookEvent.PUBLICATION_FAILED,
}


@dataclass(frozen=True)
class Message:
    """What is sent next. `position` is where the webhook continues after it; None for one that is sent again."""

    delivery_id: uuid.UUID
    event_id: uuid.UUID
    form: WebhookFormat
    url: str
    encrypted_url: str | None
    body: dict[str, Any]
    encrypted_secrets: tuple[str, ...]
    position: str | None

    def request(self) -> tuple[str, dict[str, Any]]:
        """The URL and the JSON of the request; raises `SecretKeyChanged`."""
        if self.encrypted_url is None:
            return self.url, self.body
        return formats.address(self.form, keys.decrypt(self.encrypted_url, "The webhook's URL"), self.body)

    def secrets(self) -> tuple[str, ...]:
        """What the request is signed with; raises `SecretKeyChanged`."""
        return tuple(keys.decrypt(each, "The webhook's secret") for each in self.encrypted_secrets)


def type_of(event: Event) -> WebhookEvent | None:
    """What an event is to receivers. None: nothing."""
    if event.kind == BUDGET:
        return WebhookEvent.BUDGET_WARNING
    return _TYPES.get((event.kind, str(event.payload["state"]), event.session_id is not None))


def is_wanted(webhook: Webhook, event: Event) -> bool:
    """Whether the webhook gets a message about the event."""
    kind = type_of(event)
    if kind is None or (webhook.events and kind not in webhook.events):
        return False
    return is_of_site(webhook, event)


def is_of_site(webhook: Webhook, event: Event) -> bool:
    """Whether the event is of the webhook's site, if it has one."""
    return webhook.site_id is None or _runner_of(event).site_id == webhook.site_id


def _runner_of(event: Event) -> AgentRunner:
    return db.session.get_one(AgentRunner, event.agent_runner_id)


def compose(webhook: Webhook, event: Event, delivery: WebhookDelivery, position: str | None) -> Message:
    """The message of an event, as the webhook's format has it."""
    runner = _runner_of(event)
    payload = event.payload if delivery.session_id is None else steps.data(webhook, delivery)
    data = {
        "agent_runner_id": str(runner.id),
        "session_id": None if event.session_id is None else str(event.session_id),
        "site_id": str(runner.site_id),
        "title": runner.title,
        **{name: value for name, value in payload.items() if name != "attempt"},
    }
    if webhook.format == WebhookFormat.JSON:
        body = {"type": delivery.event_type, "timestamp": event.created_at.isoformat(), "data": data}
    else:
        body = formats.render(webhook.format, delivery.event_type, data, f"{settings().public_url}/runners/{runner.id}")
    if webhook.format == WebhookFormat.EMAIL:
        body |= {
            "runner_id": str(runner.id),
            "webhook_page": f"{settings().public_url}/account/webhooks/{webhook.id}",
        }
    address = (webhook.format, webhook.url, webhook.url_encrypted)
    return Message(delivery.id, event.id, *address, body, _encrypted_secrets(webhook), position)


def _encrypted_secrets(webhook: Webhook) -> tuple[str, ...]:
    """The secrets that requests are signed with now."""
    found = [webhook.secret_encrypted]
    assert webhook.locked_at is not None
    if (
        webhook.previous_secret_encrypted
        and webhook.previous_secret_until
        and webhook.locked_at < webhook.previous_secret_until
    ):
        found.append(webhook.previous_secret_encrypted)
    return tuple(found)
