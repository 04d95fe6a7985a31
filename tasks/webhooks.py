"""Delivers events to webhooks, on the control workers."""

from __future__ import annotations

import time
import uuid

import structlog

from app import db
from app.config import settings
from app.keys import SecretKeyChanged
from app.models.states import WebhookFormat
from app.queue import DELIVER_WEBHOOK
from app.redaction.secrets import Secrets, redacted_logs
from app.services import control_places, leases
from app.services.webhooks import deliveries, emails
from app.services.webhooks.deliveries import Answer
from app.services.webhooks.messages import Message
from tasks.celery_app import app
from tasks.jobs.host import this_host
from workers.mail.connections import Server
from workers.mail.letters import Letter
from workers.mail.sending import NotSent, send
from workers.webhooks import NotDelivered, deliver

log = structlog.get_logger()


@app.task(name=DELIVER_WEBHOOK)
def deliver_webhook(webhook_id: str) -> None:
    """Send the events that a webhook has not had yet, in their order, for a part of the lease."""
    row_id, give_up_at = uuid.UUID(webhook_id), time.monotonic() + settings().lease_seconds / 3
    with db.transaction():
        attempt = deliveries.claim(row_id)
    if attempt is None:
        return
    with structlog.contextvars.bound_contextvars(webhook_id=webhook_id, attempt=attempt):
        try:
            while _send_next(row_id, attempt):
                if time.monotonic() >= give_up_at:
                    with db.transaction():
                        deliveries.pause(row_id, attempt)
                    break
        except leases.LeaseLost as reason:
            log.info("dropped", reason=reason.error_code)
    with db.transaction():
        control_places.dispatch_next()


def _send_next(row_id: uuid.UUID, attempt: int) -> bool:
    """Send one message. Returns whether there may be another one."""
    with db.transaction():
        message = deliveries.next_message(row_id, attempt)
    if message is None:
        return False
    answer = _send(message)
    log.info("webhook_sent", event_id=str(message.event_id), status=answer.status, error=answer.error)
    with db.transaction():
        return deliveries.record(row_id, attempt, message, answer)


def _send(message: Message) -> Answer:
    return _mail(message) if message.form == WebhookFormat.EMAIL else _post(message)


def _mail(message: Message) -> Answer:
    if not settings().smtp_url:
        return Answer(None, "This deployment sends no e-mail any more: AGENT_RUNNERS_SMTP_URL is not set.")
    letter = Letter(
        sender=settings().smtp_from,
        recipient=message.url.removeprefix(emails.SCHEME),
        subject=message.body["subject"],
        text=message.body["text"],
        event_id=str(message.event_id),
        runner_id=message.body["runner_id"],
        page=message.body["webhook_page"],
    )
    try:
        return Answer(send(Server.parse(settings().smtp_url), letter))
    except NotSent as error:
        return Answer(error.status, str(error), is_gone=error.has_no_mailbox)


def _post(message: Message) -> Answer:
    try:
        (url, body), secrets = message.request(), message.secrets()
    except SecretKeyChanged as error:
        return Answer(None, error.message)
    with redacted_logs(Secrets(None, {f"webhook {place}": text for place, text in enumerate((url, *secrets))})):
        try:
            status = deliver(url, str(message.event_id), body, secrets, this_host())
        except NotDelivered as error:
            return Answer(None, str(error))
    if status == 410:
        return Answer(status, "The receiver answered 410 Gone.", is_gone=True)
    return Answer(status, None if 200 <= status < 300 else f"The receiver answered {status}, and not with a success.")
