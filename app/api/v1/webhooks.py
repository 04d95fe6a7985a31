"""The webhooks: `/webhooks`."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response
from flask.views import MethodView

from app.api import examples, paging
from app.api.auth import caller
from app.api.blueprint import LIST_HEADERS, Blueprint, empty
from app.api.idempotency import idempotent
from app.api.presenters import RowView
from app.api.transactions import reading, writing
from app.schemas.base import PageQuery
from app.schemas.webhook import (
    CreateWebhookBody,
    DeliverySchema,
    NewWebhookSchema,
    UpdateWebhookBody,
    WebhookSchema,
)
from app.services.webhooks import webhooks
from app.services.webhooks.webhooks import WebhookFields

blp = Blueprint("Webhooks", __name__, description="Events sent to other systems.", url_prefix="/api/v1/webhooks")


@blp.route("")
class Webhooks(MethodView):
    @reading
    @blp.operation("listWebhooks")
    @blp.arguments(PageQuery, location="query")
    @blp.response(200, WebhookSchema(many=True), headers=LIST_HEADERS, example=[examples.WEBHOOK])
    def get(self, filters: dict[str, Any]) -> Any:
        """List the account's webhooks, oldest first.

        Disabled ones are included.
        """
        page = webhooks.find(caller(), filters)
        return page.items, paging.headers(page)

    @idempotent(secret="secret")
    @blp.operation("createWebhook", conflict="`too_many_webhooks`")
    @blp.arguments(CreateWebhookBody, example=examples.CREATE_WEBHOOK)
    @blp.response(201, NewWebhookSchema, example={**examples.WEBHOOK, "secret": "whsec_..."})
    def post(self, fields: dict[str, Any]) -> Any:
        """Create a webhook.

        It delivers the events from now on. Its secret, which requests are signed with, is shown only in this answer.
        """
        webhook, secret = webhooks.create(caller(), WebhookFields(**fields))
        return RowView(webhook, secret=secret), {"Location": paging.public_url(f"/webhooks/{webhook.id}")}


@blp.route("/<uuid:webhook_id>")
class Webhook(MethodView):
    @reading
    @blp.operation("getWebhook")
    @blp.response(200, WebhookSchema, example=examples.WEBHOOK)
    def get(self, webhook_id: uuid.UUID) -> Any:
        """Get a webhook.

        Its secret is never shown again.
        """
        return webhooks.get(caller(), webhook_id)

    @writing
    @blp.operation("updateWebhook")
    @blp.arguments(UpdateWebhookBody, example={"events": ["session.done"]}, required=False)
    @blp.response(200, WebhookSchema, example=examples.WEBHOOK)
    def patch(self, fields: dict[str, Any], webhook_id: uuid.UUID) -> Any:
        """Change a webhook.

        Fields that are left out stay as they are.
        """
        return webhooks.update(caller(), webhook_id, WebhookFields(**fields))

    @writing
    @blp.operation("deleteWebhook")
    @blp.response(204)
    def delete(self, webhook_id: uuid.UUID) -> Response:
        """Delete a webhook.

        The log of its deliveries goes with it. A request that is under way is not stopped.
        """
        webhooks.delete(caller(), webhook_id)
        return empty(204)


@blp.route("/<uuid:webhook_id>/rotate_secret")
class WebhookSecret(MethodView):
    @idempotent(secret="secret")
    @blp.operation("rotateWebhookSecret")
    @blp.response(200, NewWebhookSchema, example={**examples.WEBHOOK, "secret": "whsec_..."})
    def post(self, webhook_id: uuid.UUID) -> Any:
        """Give a webhook a new secret.

        It is shown only in this answer. For a day requests are signed with the old one as well.
        """
        webhook, secret = webhooks.rotate_secret(caller(), webhook_id)
        return RowView(webhook, secret=secret)


@blp.route("/<uuid:webhook_id>/deliveries")
class Deliveries(MethodView):
    @reading
    @blp.operation("listWebhookDeliveries")
    @blp.arguments(PageQuery, location="query")
    @blp.response(200, DeliverySchema(many=True), headers=LIST_HEADERS, example=[examples.DELIVERY])
    def get(self, filters: dict[str, Any], webhook_id: uuid.UUID) -> Any:
        """List the deliveries of a webhook, newest first.

        Those that were delivered or given up are kept for 30 days.
        """
        page = webhooks.find_deliveries(caller(), webhook_id, filters)
        return page.items, paging.headers(page)


@blp.route("/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay")
class DeliveryReplay(MethodView):
    @writing
    @blp.operation("replayWebhookDelivery", conflict="`webhook_disabled`")
    @blp.response(202, DeliverySchema, example=examples.DELIVERY)
    def post(self, webhook_id: uuid.UUID, delivery_id: uuid.UUID) -> Any:
        """Deliver an event once more.

        It has the same `webhook-id` as before, and goes before the events that wait.
        """
        return webhooks.replay(caller(), webhook_id, delivery_id)
