"""Operations on the webhook of a site: create, read, update, delete, and replace the secret."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from app import db, keys
from app.errors import Conflict, Invalid, NotFound
from app.models import ForgeDelivery, ForgeWebhook
from app.models.states import OnFailedChecks, Scope
from app.services import lookup, pagination
from app.services.callers import Caller
from app.services.hooks.authenticity import new_secret
from app.services.pagination import Listing, Page
from app.services.sites.forges import FORGES
from app.services.unset import UNSET, Unset


@dataclass(frozen=True, kw_only=True)
class ForgeWebhookFields:
    """The settings that a request sets. One that is left out keeps its value, or has its default."""

    archive_merged: bool | Unset = UNSET
    trigger_name: str | Unset = UNSET
    on_failed_checks: OnFailedChecks | Unset = UNSET
    max_fixes: int | Unset = UNSET
    issue_label: str | Unset | None = UNSET
    allowed_people: list[str] | Unset | None = UNSET


def create(caller: Caller, site_id: uuid.UUID, fields: ForgeWebhookFields) -> tuple[ForgeWebhook, str]:
    """Create the webhook of a site. Returns it with its secret."""
    caller.require(Scope.ADMIN)
    site = lookup.get_site(caller, site_id, lock=True)
    if not FORGES[site.forge].has_pull_requests:
        message = (
            f"The site's forge is {site.forge.value}, for which pull requests are not supported. Set the site's forge."
        )
        raise Invalid(message, error_code="forge_without_pull_requests")
    if _find(site.id) is not None:
        message = "The site has a webhook already. Change that one, replace its secret, or delete it first."
        raise Conflict(message, error_code="forge_webhook_exists")
    webhook = ForgeWebhook(account_id=caller.account_id, site_id=site.id, user_id=caller.user_id)
    webhook.site = site
    secret = _replace_secret(webhook)
    _apply(webhook, fields)
    db.session.add(webhook)
    db.session.flush()
    return webhook, secret


def get(caller: Caller, site_id: uuid.UUID, *, lock: bool = False) -> ForgeWebhook:
    """The webhook of a site; raises `NotFound`."""
    caller.require(Scope.READ)
    webhook = _find(lookup.get_site(caller, site_id).id, lock=lock)
    if webhook is None:
        message = "The site has no webhook for its forge. POST to this address creates it."
        raise NotFound(message, error_code="forge_webhook_not_found")
    return webhook


def update(caller: Caller, site_id: uuid.UUID, fields: ForgeWebhookFields) -> ForgeWebhook:
    """Change the given settings."""
    caller.require(Scope.ADMIN)
    webhook = get(caller, site_id, lock=True)
    _apply(webhook, fields)
    db.session.flush()
    db.session.refresh(webhook)
    return webhook


def delete(caller: Caller, site_id: uuid.UUID) -> None:
    """Delete the webhook and the log of its deliveries."""
    caller.require(Scope.ADMIN)
    webhook = get(caller, site_id, lock=True)
    db.session.execute(sa.delete(ForgeDelivery).where(ForgeDelivery.webhook_id == webhook.id))
    db.session.delete(webhook)


def rotate_secret(caller: Caller, site_id: uuid.UUID) -> tuple[ForgeWebhook, str]:
    """Give the webhook a new secret, and return both. The old one is refused from then on."""
    caller.require(Scope.ADMIN)
    webhook = get(caller, site_id, lock=True)
    secret = _replace_secret(webhook)
    db.session.flush()
    db.session.refresh(webhook)
    return webhook, secret


def find_deliveries(caller: Caller, site_id: uuid.UUID, filters: dict[str, Any]) -> Page[ForgeDelivery]:
    """A page of what the forge delivered, newest first."""
    mine = [ForgeDelivery.webhook_id == get(caller, site_id).id]
    order = (ForgeDelivery.created_at, ForgeDelivery.id)
    return pagination.find(Listing(ForgeDelivery, order, [mine], descending=True), filters)


def _find(site_id: uuid.UUID, *, lock: bool = False) -> ForgeWebhook | None:
    query = sa.select(ForgeWebhook).where(ForgeWebhook.site_id == site_id)
    return db.session.scalar(lookup.locked(query, ForgeWebhook) if lock else query)


def _apply(webhook: ForgeWebhook, fields: ForgeWebhookFields) -> None:
    for name, value in asdict(fields).items():
        if value is not UNSET:
            setattr(webhook, name, value)
    if fields.issue_label and not FORGES[webhook.site.forge].has_issues:
        message = f"Issues start no runners on {FORGES[webhook.site.forge].name}. Leave issue_label out."
        raise Invalid(message, error_code="forge_without_issues")


def _replace_secret(webhook: ForgeWebhook) -> str:
    secret = new_secret()
    webhook.secret_encrypted = keys.encrypt(secret)
    return secret
