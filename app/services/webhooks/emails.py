"""E-mail as a format of webhooks: to whom, and how often. Nobody's mailbox is filled from here."""

from __future__ import annotations

import re

import sqlalchemy as sa
from marshmallow import ValidationError, validate

from app import db
from app.config import settings
from app.errors import Conflict, invalid
from app.models import Webhook, WebhookDelivery
from app.models.states import DeliveryState, WebhookFormat

SCHEME = "mailto:"
HOUR_SECONDS = 3600.0
# Without quotes, comments, routes and parameters: what is left can be no header and no second recipient.
_PLAIN = re.compile(r"mailto:(?P<address>[A-Za-z0-9.!#$&'*+/=^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+)")


def check_url(field: str, url: str) -> None:
    """Refuse what is not one plain address, and any while the deployment has no mail server."""
    found = _PLAIN.fullmatch(url)
    try:
        validate.And(validate.Length(max=320), validate.Email())(found["address"] if found else "")
    except ValidationError:
        message = "must be one e-mail address, such as mailto:ada@example.org"
        raise invalid(field, message, error_code="bad_webhook_url") from None
    if not settings().smtp_url:
        message = (
            "this deployment sends no e-mail; the operator can set AGENT_RUNNERS_SMTP_URL and AGENT_RUNNERS_SMTP_FROM"
        )
        raise invalid(field, message, error_code="email_not_configured")


def seconds_to_wait(webhook: Webhook) -> float:
    """How long the webhook, whose row is locked, has to wait before its next e-mail. 0: it need not."""
    most = settings().max_emails_per_hour
    if webhook.format != WebhookFormat.EMAIL or not most:
        return 0.0
    sent = sa.select(WebhookDelivery.tried_at).where(
        WebhookDelivery.webhook_id == webhook.id,
        WebhookDelivery.state == DeliveryState.DELIVERED,
        WebhookDelivery.tried_at > db.now(-HOUR_SECONDS),
    )
    # The next e-mail may be sent once the one that was sent `most` e-mails before it is an hour old.
    first = db.session.scalar(sent.order_by(WebhookDelivery.tried_at.desc()).offset(most - 1).limit(1))
    if first is None:
        return 0.0
    assert webhook.locked_at is not None
    return max(HOUR_SECONDS - (webhook.locked_at - first).total_seconds(), 1.0)


def check_replay(webhook: Webhook, delivery: WebhookDelivery) -> None:
    """Refuse to send an e-mail again that was sent within the hour: so each counts once in an hour."""
    if webhook.format != WebhookFormat.EMAIL or delivery.state != DeliveryState.DELIVERED or delivery.tried_at is None:
        return
    assert webhook.locked_at is not None
    if (webhook.locked_at - delivery.tried_at).total_seconds() < HOUR_SECONDS:
        message = "This e-mail was sent less than an hour ago. Look for it in the mailbox, or try again later."
        raise Conflict(message, error_code="sent_recently")
