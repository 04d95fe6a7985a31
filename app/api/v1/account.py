"""The caller and the account: `/me` and `/account`."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView

from app.api import examples
from app.api.auth import caller
from app.api.blueprint import Blueprint
from app.api.presenters import RowView
from app.api.transactions import reading
from app.schemas.account import AccountSchema, MeSchema
from app.services.accounts import overview

blp = Blueprint("Account", __name__, description="The caller and the account.", url_prefix="/api/v1")


@blp.route("/me")
class Me(MethodView):
    @reading
    @blp.operation("getMe")
    @blp.response(200, MeSchema, example=examples.ME)
    def get(self) -> Any:
        """Get yourself.

        The user, the account and the token of the request.
        """
        me = overview.me(caller())
        return RowView(me.user, account=me.account, token=me.token)


@blp.route("/account")
class Account(MethodView):
    @reading
    @blp.operation("getAccount")
    @blp.response(200, AccountSchema, example=examples.ACCOUNT)
    def get(self) -> Any:
        """Get your account.

        Its limits and how much of them is in use.
        """
        found = overview.account(caller())
        return RowView(found.account, limits=found.limits, used=found.used)
