"""The webhook of a site's forge, on the page of what starts runners."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response

from app import db
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp
from app.console.views import automation
from app.errors import AppError, NotFound
from app.schemas.forge_webhook import ForgeWebhookBody
from app.services.forge_webhooks import webhooks
from app.services.forge_webhooks.webhooks import ForgeWebhookFields


@bp.post("/sites/<uuid:site_id>/forge-webhook/<any(create, save, rotate, delete):verb>")
def change_forge_webhook(site_id: uuid.UUID, verb: str) -> Response:
    try:
        with db.transaction():
            secret = _change(site_id, verb)
    except NotFound:
        raise
    except AppError as error:
        return automation.show(site_id, error)
    if secret:
        return automation.show(site_id, secret=("The secret that the forge signs with", secret))
    return automation.back(site_id, "forge-webhook")


def _change(site_id: uuid.UUID, verb: str) -> str | None:
    """The new secret, if there is one."""
    if verb == "rotate":
        return webhooks.rotate_secret(caller(), site_id)[1]
    if verb == "delete":
        webhooks.delete(caller(), site_id)
        return None
    given: dict[str, Any] = {
        **forms.filled("trigger_name", "on_failed_checks"),
        "archive_merged": forms.flag("archive_merged"),
    }
    if (most := forms.number("max_fixes")) is not None:
        given["max_fixes"] = most
    people = forms.names("allowed_people")
    # An empty list lets nobody ask, and its field is blank as well.
    if people or verb == "create" or webhooks.get(caller(), site_id).allowed_people:
        given["allowed_people"] = people or None
    fields = ForgeWebhookFields(**forms.load(ForgeWebhookBody(), given))
    if verb == "create":
        return webhooks.create(caller(), site_id, fields)[1]
    webhooks.update(caller(), site_id, fields)
    return None
