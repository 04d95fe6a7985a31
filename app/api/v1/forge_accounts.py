"""The caller's own accounts on forges: `/account/forge_accounts`."""

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
from app.api.rate_limits import limited
from app.api.transactions import reading, writing
from app.schemas.base import PageQuery
from app.schemas.forge_account import ConnectForgeAccountBody, ForgeAccountSchema
from app.services.accounts import forge_accounts
from app.services.accounts.forge_accounts import Found

blp = Blueprint(
    "Forge accounts",
    __name__,
    description="Your own accounts on forges.",
    url_prefix="/api/v1/account/forge_accounts",
)


def _view(found: Found) -> RowView:
    return RowView(found.row, state=found.state, failure=found.failure)


@blp.route("")
class ForgeAccounts(MethodView):
    @reading
    @blp.operation("listForgeAccounts")
    @blp.arguments(PageQuery, location="query")
    @blp.response(200, ForgeAccountSchema(many=True), headers=LIST_HEADERS, example=[examples.FORGE_ACCOUNT])
    def get(self, filters: dict[str, Any]) -> Any:
        """List your accounts on forges, oldest first.

        Nobody else sees them, administrators included.
        """
        page = forge_accounts.find(caller(), filters).map(_view)
        return page.items, paging.headers(page)

    @limited("tokens")
    @idempotent()
    @blp.operation("connectForgeAccount", conflict="`forge_account_exists`")
    @blp.arguments(ConnectForgeAccountBody, example=examples.CONNECT_FORGE_ACCOUNT)
    @blp.response(201, ForgeAccountSchema, example=examples.PENDING_FORGE_ACCOUNT)
    def post(self, fields: dict[str, Any]) -> Any:
        """Connect your account on a forge.

        Poll the answer's `Location` until `state` is CONNECTED or FAILED: a worker asks the forge whose token it is. From
        then on you are the author of commits of your sessions there, and of pull requests that you ask for. One that
        has failed is replaced by the next.
        """
        found = forge_accounts.connect(caller(), **fields)
        return _view(found), {"Location": paging.public_url(f"/account/forge_accounts/{found.row.id}")}


@blp.route("/<uuid:forge_account_id>")
class ForgeAccount(MethodView):
    @reading
    @blp.operation("getForgeAccount")
    @blp.response(200, ForgeAccountSchema, example=examples.FORGE_ACCOUNT)
    def get(self, forge_account_id: uuid.UUID) -> Any:
        """Get one of your accounts on forges.

        Its token is never shown.
        """
        return _view(forge_accounts.get(caller(), forge_account_id))

    @writing
    @blp.operation("removeForgeAccount")
    @blp.response(204)
    def delete(self, forge_account_id: uuid.UUID) -> Response:
        """Remove one of your accounts on forges.

        Its token is deleted here. Revoke it on the forge, too, if nothing else uses it.
        """
        forge_accounts.delete(caller(), forge_account_id)
        return empty(204)
