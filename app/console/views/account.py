"""The account: tokens, your accounts on forges, members, webhooks and budgets."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping
from typing import Any

from flask import Response, redirect, request, url_for

from app import db
from app.api.rate_limits import limited
from app.console import forms
from app.console.access import caller
from app.console.blueprint import bp, page
from app.errors import AppError
from app.schemas.base import PageQuery
from app.schemas.budget import CreateBudgetBody
from app.schemas.forge_account import ConnectForgeAccountBody
from app.schemas.member import CreateMemberBody, UpdateMemberBody
from app.schemas.token import CreateTokenBody
from app.schemas.webhook import CreateWebhookBody
from app.services.accounts import forge_accounts, members, tokens
from app.services.accounts.members import MemberFields
from app.services.budgets import budgets
from app.services.budgets.budgets import BudgetFields, Whose
from app.services.sites import sites
from app.services.sites.forges import FORGES
from app.services.webhooks import webhooks
from app.services.webhooks.webhooks import WebhookFields


@bp.get("/account")
def account() -> Response:
    return show()


def show(error: AppError | None = None, secret: tuple[str, str] | None = None) -> Response:
    """The page. `secret` is a name and a text that is shown this once."""
    with db.transaction(read_only=True):
        query = forms.load(PageQuery(), {})
        values: dict[str, Any] = {
            "tokens": [each for each in tokens.find_own(caller(), query).items if each.revoked_at is None],
            "forge_accounts": forge_accounts.find(caller(), query).items,
            "forges": {forge.value: FORGES[forge].name for forge in forge_accounts.CONNECTABLE},
            "members": members.find(caller(), query).items,
            "roles": members.ROLES,
            "own_id": caller().user_id,
            "webhooks": webhooks.find(caller(), query).items,
            "budgets": budgets.find(caller()),
            "sites": sites.find(caller(), query).items,
            "events": webhooks.EVENTS,
            "formats": webhooks.FORMATS,
            "given": request.form if error else {},
        }
        return page("account/index.html", error.status if error else 200, error=error, secret=secret, **values)


def back(anchor: str) -> Response:
    return redirect(url_for("console.account", _anchor=anchor), 303)  # type: ignore[return-value]


@bp.post("/account/tokens")
def create_token() -> Response:
    try:
        return _create_token()
    except AppError as error:
        return show(error)


@limited("tokens")
def _create_token() -> Response:
    given: dict[str, Any] = forms.filled("name", "scope")
    if days := forms.filled("days").get("days"):
        given["expires_at"] = _in_days(days)
    fields = forms.load(CreateTokenBody(), given)
    with db.transaction():
        row, text = tokens.create_for_caller(caller(), fields["scope"], fields["name"], fields["expires_at"])
    return show(secret=(f"The token “{row.name}”", text))


def _in_days(days: str) -> str:
    """The time in so many days. What is not a number stays text, which the schema refuses."""
    if not days.isdecimal() or len(days) > 4:
        return days
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=int(days))).isoformat()


@bp.post("/account/tokens/<uuid:token_id>/revoke")
def revoke_token(token_id: uuid.UUID) -> Response:
    with db.transaction():
        tokens.revoke(token_id, caller())
    return back("tokens")


@bp.post("/account/forge_accounts")
def connect_forge_account() -> Response:
    try:
        return _connect_forge_account()
    except AppError as error:
        return show(error)


@limited("tokens")
def _connect_forge_account() -> Response:
    fields = forms.load(ConnectForgeAccountBody(), forms.filled("forge", "forge_api_url", "token"))
    with db.transaction():
        forge_accounts.connect(caller(), **fields)
    return back("forge-accounts")


@bp.post("/account/forge_accounts/<uuid:forge_account_id>/remove")
def remove_forge_account(forge_account_id: uuid.UUID) -> Response:
    with db.transaction():
        forge_accounts.delete(caller(), forge_account_id)
    return back("forge-accounts")


@bp.post("/account/members")
def create_member() -> Response:
    try:
        return _create_member()
    except AppError as error:
        return show(error)


@limited("tokens")
def _create_member() -> Response:
    fields = forms.load(CreateMemberBody(), forms.filled("email", "full_name", "role"))
    with db.transaction():
        user, text = members.create(caller(), **fields)
    return show(secret=(f"The first token of {user.full_name}", text))


@bp.post("/account/members/<uuid:member_id>/role")
def change_role(member_id: uuid.UUID) -> Response:
    return _update_member(member_id, forms.filled("role"))


@bp.post("/account/members/<uuid:member_id>/active")
def enable_member(member_id: uuid.UUID) -> Response:
    """Disable a member, or enable it again, as the form says."""
    return _update_member(member_id, {"disabled": not forms.flag("active")})


def _update_member(member_id: uuid.UUID, given: Mapping[str, Any]) -> Response:
    try:
        fields = MemberFields(**forms.load(UpdateMemberBody(), given))
        with db.transaction():
            members.update(caller(), member_id, fields)
    except AppError as error:
        return show(error)
    return back("members")


@bp.post("/account/webhooks")
def create_webhook() -> Response:
    given: dict[str, Any] = {
        **forms.filled("url", "format", "description", "site_id"),
        "events": request.form.getlist("events"),
        "full": forms.flag("full"),
    }
    try:
        with db.transaction():
            made, text = webhooks.create(caller(), WebhookFields(**forms.load(CreateWebhookBody(), given)))
    except AppError as error:
        return show(error)
    if made.format.value == "email":
        # What is sent by e-mail is not signed.
        return back("webhooks")
    return show(secret=(f"The secret that requests to {made.url} are signed with", text))


@bp.post("/account/budgets")
def create_budget() -> Response:
    limits = {name: forms.number(name) for name in ("max_cost_usd", "max_tokens")}
    given = {
        **forms.filled("period", "site_id"),
        **{name: value for name, value in limits.items() if value is not None},
    }
    try:
        fields = forms.load(CreateBudgetBody(), given)
        whose = Whose(**{name: fields.pop(name) for name in ("site_id", "user_id", "schedule_id")})
        with db.transaction():
            budgets.create(caller(), whose, fields.pop("period"), BudgetFields(**fields))
    except AppError as error:
        return show(error)
    return back("budgets")


@bp.post("/account/budgets/<uuid:budget_id>/delete")
def delete_budget(budget_id: uuid.UUID) -> Response:
    with db.transaction():
        budgets.delete(caller(), budget_id)
    return back("budgets")
