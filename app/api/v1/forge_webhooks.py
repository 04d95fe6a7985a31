"""The webhook of a site's forge: `/sites/:id/forge_webhook`, and where forges deliver: `/forge_webhooks/:id`."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response, request
from flask.views import MethodView

from app import db
from app.api import auth, examples, paging, received
from app.api.auth import caller
from app.api.blueprint import LIST_HEADERS, Blueprint, empty
from app.api.idempotency import idempotent
from app.api.presenters import RowView
from app.api.transactions import reading, writing
from app.errors import Unauthorized
from app.schemas.base import PageQuery
from app.schemas.forge_webhook import (
    ForgeDeliverySchema,
    ForgeWebhookBody,
    ForgeWebhookSchema,
    NewForgeWebhookSchema,
    ReceivedSchema,
)
from app.services.forge_webhooks import deliveries, webhooks
from app.services.forge_webhooks.webhooks import ForgeWebhookFields
from app.services.hooks.authenticity import Request
from app.serving.shares import take_share

blp = Blueprint(
    "Forge webhooks",
    __name__,
    description="Webhooks by which the forge of a site reports what happens to pull requests.",
    url_prefix="/api/v1/sites/<uuid:site_id>/forge_webhook",
)
open_blp = Blueprint(
    "Forge deliveries",
    __name__,
    description="Where forges send deliveries. They are authenticated by their signature.",
    url_prefix="/api/v1/forge_webhooks",
    is_open=True,
)
_DELIVERED = {
    "schema": {"type": "object"},
    "example": {"action": "closed", "pull_request": {"number": 17, "merged": True}},
}


def _view(webhook: Any, **extra: Any) -> RowView:
    return RowView(webhook, url=paging.public_url(f"/forge_webhooks/{webhook.id}"), **extra)


@blp.route("")
class ForgeWebhook(MethodView):
    @reading
    @blp.operation("getForgeWebhook")
    @blp.response(200, ForgeWebhookSchema, example=examples.FORGE_WEBHOOK)
    def get(self, site_id: uuid.UUID) -> Any:
        """Get the webhook of a site's forge.

        Its secret is never shown again.
        """
        return _view(webhooks.get(caller(), site_id))

    @idempotent(secret="secret")
    @blp.operation("createForgeWebhook", conflict="`forge_webhook_exists`")
    @blp.arguments(ForgeWebhookBody, example={"archive_merged": True}, required=False)
    @blp.response(201, NewForgeWebhookSchema, example={**examples.FORGE_WEBHOOK, "secret": "whsec_..."})
    def post(self, fields: dict[str, Any], site_id: uuid.UUID) -> Any:
        """Create the webhook of a site's forge.

        Set its `url` and `secret` on the forge. The secret is shown only in this answer.
        """
        webhook, secret = webhooks.create(caller(), site_id, ForgeWebhookFields(**fields))
        return _view(webhook, secret=secret), {"Location": paging.public_url(f"/sites/{site_id}/forge_webhook")}

    @writing
    @blp.operation("updateForgeWebhook")
    @blp.arguments(ForgeWebhookBody, example={"archive_merged": False}, required=False)
    @blp.response(200, ForgeWebhookSchema, example=examples.FORGE_WEBHOOK)
    def patch(self, fields: dict[str, Any], site_id: uuid.UUID) -> Any:
        """Change the webhook of a site's forge.

        Fields that are left out stay as they are.
        """
        return _view(webhooks.update(caller(), site_id, ForgeWebhookFields(**fields)))

    @writing
    @blp.operation("deleteForgeWebhook")
    @blp.response(204)
    def delete(self, site_id: uuid.UUID) -> Response:
        """Delete the webhook of a site's forge.

        The log of its deliveries goes with it, and what is still pending.
        """
        webhooks.delete(caller(), site_id)
        return empty(204)


@blp.route("/rotate_secret")
class ForgeWebhookSecret(MethodView):
    @idempotent(secret="secret")
    @blp.operation("rotateForgeWebhookSecret")
    @blp.response(200, NewForgeWebhookSchema, example={**examples.FORGE_WEBHOOK, "secret": "whsec_..."})
    def post(self, site_id: uuid.UUID) -> Any:
        """Give the webhook of a site's forge a new secret.

        It is shown only in this answer. The old one is refused from then on.
        """
        webhook, secret = webhooks.rotate_secret(caller(), site_id)
        return _view(webhook, secret=secret)


@blp.route("/deliveries")
class ForgeDeliveries(MethodView):
    @reading
    @blp.operation("listForgeDeliveries")
    @blp.arguments(PageQuery, location="query")
    @blp.response(200, ForgeDeliverySchema(many=True), headers=LIST_HEADERS, example=[examples.FORGE_DELIVERY])
    def get(self, filters: dict[str, Any], site_id: uuid.UUID) -> Any:
        """List what the forge delivered about pull requests of runners, newest first.

        Deliveries are kept for 30 days; those of a comment, review or commit that was acted on, as long as the webhook.
        """
        page = webhooks.find_deliveries(caller(), site_id, filters)
        return page.items, paging.headers(page)


@open_blp.route("/<uuid:forge_webhook_id>")
class Delivery(MethodView):
    @open_blp.doc(requestBody={"content": {"application/json": _DELIVERED}, "required": True})
    @open_blp.operation("deliverFromForge")
    @open_blp.response(202, ReceivedSchema, example={"id": examples.FORGE_DELIVERY["id"]})
    def post(self, forge_webhook_id: uuid.UUID) -> Any:
        """Deliver an event of a forge.

        It must be signed with the webhook's secret, as the forge does. The `id` is null for an event that is not about the
        pull request of a runner, which is ignored.
        """
        body = received.read_body()
        sent = Request(request.headers.get, body)
        try:
            # Nothing is read of a body whose sender is unknown.
            with db.transaction(read_only=True):
                account_id = deliveries.authenticate(forge_webhook_id, sent)
        except Unauthorized:
            auth.refuse_too_many()
            raise
        take_share(request.environ, account_id)
        data = received.read_object(body)
        delivery_id = received.delivery_id() or received.delivery_digest(body)
        with db.transaction():
            delivery = deliveries.receive(forge_webhook_id, deliveries.Received(sent, data, delivery_id))
            return {"id": delivery.id if delivery else None}
