"""The bearer tokens: `/tokens`."""

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
from app.schemas.token import CreateTokenBody, NewTokenSchema, TokenSchema
from app.services.accounts import tokens

blp = Blueprint("Tokens", __name__, description="Bearer tokens.", url_prefix="/api/v1/tokens")


@blp.route("")
class Tokens(MethodView):
    @reading
    @blp.operation("listTokens")
    @blp.arguments(PageQuery, location="query")
    @blp.response(200, TokenSchema(many=True), headers=LIST_HEADERS, example=[examples.TOKEN])
    def get(self, filters: dict[str, Any]) -> Any:
        """List tokens, oldest first.

        Your own tokens, or all tokens of the account for an administrator. Revoked tokens are included.
        """
        page = tokens.find_own(caller(), filters)
        return page.items, paging.headers(page)

    @limited("tokens")
    @idempotent(secret="token")
    @blp.operation("createToken")
    @blp.arguments(CreateTokenBody, example={"name": "ci", "scope": "write"})
    @blp.response(201, NewTokenSchema, example={**examples.TOKEN, "token": "ar_..."})
    def post(self, fields: dict[str, Any]) -> Any:
        """Create a token for yourself.

        Its text is shown only in this answer. A token cannot be given a scope that your own token does not include, and
        expires with that at the latest.
        """
        row, text = tokens.create_for_caller(caller(), fields["scope"], fields["name"], fields["expires_at"])
        return RowView(row, token=text)


@blp.route("/<uuid:token_id>")
class Token(MethodView):
    @writing
    @blp.operation("revokeToken")
    @blp.response(204)
    def delete(self, token_id: uuid.UUID) -> Response:
        """Revoke a token.

        From then on requests with it get 401, and so do requests with session tokens of claims that were made with it.
        Revoking it again is not an error.
        """
        tokens.revoke(token_id, caller())
        return empty(204)
