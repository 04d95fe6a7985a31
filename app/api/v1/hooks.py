"""The hooks of a site: `/sites/:id/agent_runner_hooks`, and where other systems deliver: `/hooks/:id`."""

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
from app.schemas.hook import CreateHookBody, HookDeliverySchema, HookSchema, NewHookSchema, UpdateHookBody
from app.services.hooks import authenticity, deliveries, hooks
from app.services.hooks.hooks import HookFields
from app.serving.shares import take_share

blp = Blueprint(
    "Hooks",
    __name__,
    description="URLs by which other systems create runners.",
    url_prefix="/api/v1/sites/<uuid:site_id>/agent_runner_hooks",
)
open_blp = Blueprint(
    "Hook deliveries",
    __name__,
    description="Where other systems deliver. The secret of the hook is the permission.",
    url_prefix="/api/v1/hooks",
    is_open=True,
)
_DELIVERED = {
    "schema": {"type": "object"},
    "example": {"action": "opened", "issue": {"number": 17, "title": "It fails"}},
}


def _view(hook: Any, **extra: Any) -> RowView:
    return RowView(hook, url=paging.public_url(f"/hooks/{hook.id}"), **extra)


@blp.route("")
class Hooks(MethodView):
    @reading
    @blp.operation("listHooks")
    @blp.arguments(PageQuery, location="query")
    @blp.response(200, HookSchema(many=True), headers=LIST_HEADERS, example=[examples.HOOK])
    def get(self, filters: dict[str, Any], site_id: uuid.UUID) -> Any:
        """List the hooks of a site, oldest first.

        Inactive ones are included.
        """
        page = hooks.find(caller(), site_id, filters)
        return [_view(each) for each in page.items], paging.headers(page)

    @idempotent(secret="secret")
    @blp.operation("createHook", conflict="`too_many_hooks`")
    @blp.arguments(CreateHookBody, example=examples.CREATE_HOOK)
    @blp.response(201, NewHookSchema, example={**examples.HOOK, "secret": "whsec_..."})
    def post(self, fields: dict[str, Any], site_id: uuid.UUID) -> Any:
        """Create a hook.

        Its runners are created in the name of the user of this token. Its secret is shown only in this answer.
        """
        hook, secret = hooks.create(caller(), site_id, HookFields(**fields))
        location = paging.public_url(f"/sites/{site_id}/agent_runner_hooks/{hook.id}")
        return _view(hook, secret=secret), {"Location": location}


@blp.route("/<uuid:hook_id>")
class Hook(MethodView):
    @reading
    @blp.operation("getHook")
    @blp.response(200, HookSchema, example=examples.HOOK)
    def get(self, site_id: uuid.UUID, hook_id: uuid.UUID) -> Any:
        """Get a hook.

        Its secret is never shown again.
        """
        return _view(hooks.get(caller(), site_id, hook_id))

    @writing
    @blp.operation("updateHook")
    @blp.arguments(UpdateHookBody, example={"active": False}, required=False)
    @blp.response(200, HookSchema, example=examples.HOOK)
    def patch(self, fields: dict[str, Any], site_id: uuid.UUID, hook_id: uuid.UUID) -> Any:
        """Change a hook.

        Fields that are left out stay as they are.
        """
        return _view(hooks.update(caller(), site_id, hook_id, HookFields(**fields)))

    @writing
    @blp.operation("deleteHook")
    @blp.response(204)
    def delete(self, site_id: uuid.UUID, hook_id: uuid.UUID) -> Response:
        """Delete a hook.

        The log of its deliveries goes with it, and what still waits. Runners that it created stay.
        """
        hooks.delete(caller(), site_id, hook_id)
        return empty(204)


@blp.route("/<uuid:hook_id>/rotate_secret")
class HookSecret(MethodView):
    @idempotent(secret="secret")
    @blp.operation("rotateHookSecret")
    @blp.response(200, NewHookSchema, example={**examples.HOOK, "secret": "whsec_..."})
    def post(self, site_id: uuid.UUID, hook_id: uuid.UUID) -> Any:
        """Give a hook a new secret.

        It is shown only in this answer. The old one is refused from then on.
        """
        hook, secret = hooks.rotate_secret(caller(), site_id, hook_id)
        return _view(hook, secret=secret)


@blp.route("/<uuid:hook_id>/deliveries")
class HookDeliveries(MethodView):
    @reading
    @blp.operation("listHookDeliveries")
    @blp.arguments(PageQuery, location="query")
    @blp.response(200, HookDeliverySchema(many=True), headers=LIST_HEADERS, example=[examples.HOOK_DELIVERY])
    def get(self, filters: dict[str, Any], site_id: uuid.UUID, hook_id: uuid.UUID) -> Any:
        """List what was delivered to a hook, newest first.

        Deliveries are kept for 30 days. Those that were refused are not among them.
        """
        page = hooks.find_deliveries(caller(), site_id, hook_id, filters)
        return page.items, paging.headers(page)


@open_blp.route("/<uuid:hook_id>")
class Delivery(MethodView):
    @open_blp.doc(requestBody={"content": {"application/json": _DELIVERED}, "required": True})
    @open_blp.operation("deliverToHook")
    @open_blp.response(202, HookDeliverySchema, example=examples.HOOK_DELIVERY)
    def post(self, hook_id: uuid.UUID) -> Any:
        """Deliver JSON to a hook.

        Sign the request with the hook's secret, or send the secret. The same delivery id starts one session, however
        often it comes.
        """
        sent = authenticity.Request(request.headers.get, received.read_body(), request.args.get("secret"))
        try:
            # Nothing is read of a body whose sender is unknown.
            with db.transaction(read_only=True):
                account_id = deliveries.authenticate(hook_id, sent)
        except Unauthorized:
            auth.refuse_too_many()
            raise
        take_share(request.environ, account_id)
        with db.transaction():
            return deliveries.receive(
                hook_id, deliveries.Received(sent, received.read_object(sent.body), received.delivery_id())
            )
