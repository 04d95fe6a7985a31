"""Operations on webhooks: create, read, update, delete, and replace the secret."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from app import db, keys
from app.errors import Conflict, NotFound
from app.models import Webhook, WebhookDelivery
from app.models.states import DeliveryState, Scope, WebhookEvent, WebhookFormat, WebhookState
from app.services import lookup, pagination
from app.services.callers import Caller
from app.services.event_streams import AccountEvents
from app.services.hooks.authenticity import new_secret
from app.services.pagination import Listing, Page
from app.services.sites import git_names
from app.services.unset import UNSET, Unset
from app.services.webhooks import emails, formats

EVENTS = tuple(event.value for event in WebhookEvent)
"""What can be delivered."""
FORMATS = tuple(form.value for form in WebhookFormat)
MOST_OF_AN_ACCOUNT = 20
OVERLAP_SECONDS = 86_400.0


@dataclass(frozen=True, kw_only=True)
class WebhookFields:
    """The fields of a webhook that a request sets. One that is left out keeps its value, or has its default."""

    format: WebhookFormat | Unset = UNSET
    """Only a new webhook takes one."""
    url: str | Unset = UNSET
    site_id: uuid.UUID | Unset | None = UNSET
    description: str | Unset = UNSET
    events: Sequence[str] | Unset = UNSET
    full: bool | Unset = UNSET
    active: bool | Unset = UNSET


def create(caller: Caller, fields: WebhookFields) -> tuple[Webhook, str]:
    """Create a webhook for the events from now on. Returns it with its secret."""
    caller.require(Scope.ADMIN)
    lookup.lock_account(caller.account_id)
    mine = sa.select(sa.func.count()).where(Webhook.account_id == caller.account_id)
    if db.session.scalars(mine).one() >= MOST_OF_AN_ACCOUNT:
        message = f"Your account has {MOST_OF_AN_ACCOUNT} webhooks, which is the limit. Delete one, or change the events of one."
        raise Conflict(message, error_code="too_many_webhooks")
    webhook = Webhook(account_id=caller.account_id, position=_now(caller.account_id))
    secret = _replace_secret(webhook)
    _apply(caller, webhook, fields)
    db.session.add(webhook)
    db.session.flush()
    return webhook, secret


def get(caller: Caller, webhook_id: uuid.UUID, *, lock: bool = False) -> Webhook:
    caller.require(Scope.READ)
    query = sa.select(Webhook).where(Webhook.id == webhook_id, Webhook.account_id == caller.account_id)
    webhook = db.session.scalar(lookup.locked(query, Webhook) if lock else query)
    if webhook is None:
        message = "Your account has no webhook with this id. GET /webhooks lists them."
        raise NotFound(message, error_code="webhook_not_found")
    return webhook


def find(caller: Caller, filters: dict[str, Any]) -> Page[Webhook]:
    """A page of the account's webhooks, oldest first."""
    caller.require(Scope.READ)
    own = (Webhook.account_id == caller.account_id,)
    return pagination.find(Listing(Webhook, (Webhook.created_at, Webhook.id), [own]), filters)


def update(caller: Caller, webhook_id: uuid.UUID, fields: WebhookFields) -> Webhook:
    """Change the given fields. A webhook that is made active again delivers the events from now on."""
    caller.require(Scope.ADMIN)
    webhook = get(caller, webhook_id, lock=True)
    _apply(caller, webhook, fields)
    db.session.flush()
    db.session.refresh(webhook)
    return webhook


def delete(caller: Caller, webhook_id: uuid.UUID) -> None:
    """Delete a webhook and the log of its deliveries."""
    caller.require(Scope.ADMIN)
    webhook = get(caller, webhook_id, lock=True)
    db.session.execute(sa.delete(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook.id))
    db.session.delete(webhook)


def rotate_secret(caller: Caller, webhook_id: uuid.UUID) -> tuple[Webhook, str]:
    """Give a webhook a new secret, and return both. For a day requests are signed with the old one as well."""
    caller.require(Scope.ADMIN)
    webhook = get(caller, webhook_id, lock=True)
    webhook.previous_secret_encrypted = webhook.secret_encrypted
    webhook.previous_secret_until = db.now(OVERLAP_SECONDS)
    secret = _replace_secret(webhook)
    db.session.flush()
    db.session.refresh(webhook)
    return webhook, secret


def find_deliveries(caller: Caller, webhook_id: uuid.UUID, filters: dict[str, Any]) -> Page[WebhookDelivery]:
    """A page of what a webhook delivered, newest first."""
    webhook = get(caller, webhook_id)
    mine = [WebhookDelivery.webhook_id == webhook.id]
    order = (WebhookDelivery.created_at, WebhookDelivery.id)
    return pagination.find(Listing(WebhookDelivery, order, [mine], descending=True), filters)


def replay(caller: Caller, webhook_id: uuid.UUID, delivery_id: uuid.UUID) -> WebhookDelivery:
    """Deliver an event once more, with the same id."""
    caller.require(Scope.ADMIN)
    webhook = get(caller, webhook_id, lock=True)
    if webhook.state != WebhookState.ACTIVE:
        raise Conflict("The webhook is disabled. Set active to true first.", error_code="webhook_disabled")
    query = sa.select(WebhookDelivery).where(
        WebhookDelivery.id == delivery_id, WebhookDelivery.webhook_id == webhook.id
    )
    delivery = db.session.scalar(query)
    if delivery is None:
        raise NotFound("The webhook has no delivery with this id. GET its deliveries.", error_code="delivery_not_found")
    emails.check_replay(webhook, delivery)
    delivery.state, delivery.tries = DeliveryState.PENDING, 0
    if webhook.lease_expires_at is None:
        webhook.next_dispatch_at = db.now()
    db.session.flush()
    return delivery


def _apply(caller: Caller, webhook: Webhook, fields: WebhookFields) -> None:
    if fields.site_id:
        lookup.get_site(caller, fields.site_id)
    given = {name: value for name, value in asdict(fields).items() if value is not UNSET}
    webhook.format = given.pop("format", webhook.format or _usual_format(fields.url))
    if url := given.pop("url", None):
        _set_url(webhook, url)
    active = given.pop("active", None)
    for name, value in given.items():
        setattr(webhook, name, value)
    wants_steps = WebhookEvent.SESSION_STEP in (webhook.events or ())
    if not wants_steps or webhook.steps_since is None:
        webhook.steps_since = db.now() if wants_steps else None
    if active is False:
        webhook.state, webhook.next_dispatch_at = WebhookState.DISABLED, None
    elif active and webhook.state == WebhookState.DISABLED:
        webhook.state, webhook.disabled_reason, webhook.failing_since = WebhookState.ACTIVE, None, None
        webhook.position = _now(webhook.account_id)
        webhook.steps_since = db.now() if wants_steps else None
        waiting = (WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.state == DeliveryState.PENDING)
        db.session.execute(sa.update(WebhookDelivery).where(*waiting).values(state=DeliveryState.FAILED))


def _usual_format(url: str | Unset) -> WebhookFormat:
    return WebhookFormat.EMAIL if isinstance(url, str) and url.startswith(emails.SCHEME) else WebhookFormat.JSON


def _set_url(webhook: Webhook, url: str) -> None:
    if webhook.format == WebhookFormat.EMAIL:
        emails.check_url("url", url)
        webhook.url = url
        return
    git_names.check_webhook_url("url", url)
    if webhook.format == WebhookFormat.JSON:
        webhook.url = url
    else:
        formats.check_url("url", webhook.format, url)
        webhook.url, webhook.url_encrypted = formats.hidden(url), keys.encrypt(url)


def _now(account_id: uuid.UUID) -> str:
    return str(AccountEvents(account_id).now())


def _replace_secret(webhook: Webhook) -> str:
    secret = new_secret()
    webhook.secret_encrypted = keys.encrypt(secret)
    return secret
