"""A webhook: what it delivered, and what failed, delivered once more."""

from __future__ import annotations

import uuid

from flask import Response, redirect, request, url_for

from app import db
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp, page
from app.console.views import account
from app.errors import AppError, NotFound
from app.schemas.base import PageQuery
from app.services.webhooks import webhooks
from app.services.webhooks.webhooks import WebhookFields


@bp.get("/account/webhooks/<uuid:webhook_id>")
def webhook(webhook_id: uuid.UUID) -> Response:
    return _show(webhook_id)


def _show(webhook_id: uuid.UUID, error: AppError | None = None, secret: tuple[str, str] | None = None) -> Response:
    """The page. `secret` is a name and a text that is shown this once."""
    with db.transaction(read_only=True):
        query = forms.load(PageQuery(), {"page": request.args.get("page", "1"), "per_page": "50"})
        found = webhooks.find_deliveries(caller(), webhook_id, query)
        row = webhooks.get(caller(), webhook_id)
        values = {"webhook": row, "found": found, "secret": secret}
        return page("account/webhook.html", error.status if error else 200, error=error, **values)


@bp.post("/account/webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay")
def replay_delivery(webhook_id: uuid.UUID, delivery_id: uuid.UUID) -> Response:
    try:
        with db.transaction():
            webhooks.replay(caller(), webhook_id, delivery_id)
    except NotFound:
        raise
    except AppError as error:
        return _show(webhook_id, error)
    return _back(webhook_id)


@bp.post("/account/webhooks/<uuid:webhook_id>/active")
def set_webhook_active(webhook_id: uuid.UUID) -> Response:
    """Stop the webhook, or let it deliver the events from now on."""
    with db.transaction():
        webhooks.update(caller(), webhook_id, WebhookFields(active=forms.flag("active")))
    return _back(webhook_id)


@bp.post("/account/webhooks/<uuid:webhook_id>/rotate")
def rotate_webhook_secret(webhook_id: uuid.UUID) -> Response:
    try:
        with db.transaction():
            _, text = webhooks.rotate_secret(caller(), webhook_id)
    except NotFound:
        raise
    except AppError as error:
        return _show(webhook_id, error)
    return _show(webhook_id, secret=("The new secret that requests are signed with", text))


@bp.post("/account/webhooks/<uuid:webhook_id>/delete")
def delete_webhook(webhook_id: uuid.UUID) -> Response:
    with db.transaction():
        webhooks.delete(caller(), webhook_id)
    return account.back("webhooks")


def _back(webhook_id: uuid.UUID) -> Response:
    return redirect(url_for("console.webhook", webhook_id=webhook_id), 303)  # type: ignore[return-value]
