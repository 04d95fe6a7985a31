"""The caller and the account: `/me`, `/account`, `/agents`, `/audit_events` and `/console_links`."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView

from app.api import examples, paging
from app.api.auth import caller
from app.api.blueprint import LIST_HEADERS, Blueprint
from app.api.idempotency import idempotent
from app.api.presenters import RowView
from app.api.rate_limits import limited
from app.api.transactions import reading
from app.config import settings
from app.schemas.account import AccountSchema, MeSchema
from app.schemas.agent import AgentSchema
from app.schemas.audit_event import AuditEventSchema
from app.schemas.base import PageQuery
from app.schemas.token import ConsoleLinkSchema
from app.services import agents, audit
from app.services.accounts import console_sessions, overview

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


@blp.route("/console_links")
class ConsoleLinks(MethodView):
    @limited("tokens")
    @idempotent(secret="url")
    @blp.operation("createConsoleLink")
    @blp.response(201, ConsoleLinkSchema, example=examples.CONSOLE_LINK)
    def post(self) -> Any:
        """Get a link that signs you in to the console.

        It can be used once, within ten minutes. The session may do what your token may, and ends with it.
        """
        code, expires_at = console_sessions.create_link(caller())
        return {"url": f"{settings().public_url.rstrip('/')}/sign-in?code={code}", "expires_at": expires_at}


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


@blp.route("/agents")
class Agents(MethodView):
    @reading
    @blp.operation("listAgents")
    @blp.response(200, AgentSchema(many=True), example=[examples.AGENT])
    def get(self) -> Any:
        """List the agents.

        Those that a prompt may name, and what the session workers found of them when they started.
        """
        return agents.overview(caller())


@blp.route("/audit_events")
class AuditEvents(MethodView):
    @reading
    @blp.operation("listAuditEvents")
    @blp.arguments(PageQuery, location="query")
    @blp.response(200, AuditEventSchema(many=True), headers=LIST_HEADERS, example=[examples.AUDIT_EVENT])
    def get(self, filters: dict[str, Any]) -> Any:
        """List who changed what, newest first.

        Only changes of variables, budgets and members so far. Never a secret.
        """
        page = audit.find(caller(), filters)
        return page.items, paging.headers(page)
