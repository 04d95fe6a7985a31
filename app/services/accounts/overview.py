"""What callers can read about themselves and their account."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from app import db
from app.config import settings
from app.models import Account, AgentRunnerSession, Token, User
from app.models.states import ACTIVE, Scope, SessionState
from app.services.callers import Caller


@dataclass(frozen=True)
class Me:
    user: User
    account: Account
    token: Token


@dataclass(frozen=True)
class Overview:
    """An account, its limits, of which None means no limit, and its current use."""

    account: Account
    limits: dict[str, int | None]
    used: dict[str, int]


def me(caller: Caller) -> Me:
    """The caller, with the account and the token in use."""
    caller.require(Scope.READ)
    user = db.session.get_one(User, caller.user_id)
    return Me(user, db.session.get_one(Account, caller.account_id), db.session.get_one(Token, caller.token_id))


def account(caller: Caller) -> Overview:
    """The caller's account."""
    caller.require(Scope.READ)
    row = db.session.get_one(Account, caller.account_id)
    query = sa.select(AgentRunnerSession.state, sa.func.count()).where(
        AgentRunnerSession.account_id == row.id, AgentRunnerSession.state.in_(ACTIVE)
    )
    found = dict(db.session.execute(query.group_by(AgentRunnerSession.state)).all())
    return Overview(
        row,
        {
            "max_concurrent_sessions": row.max_concurrent_sessions,
            "max_queued_sessions": row.max_queued_sessions or settings().max_queued_sessions,
            "max_stored_bytes": settings().max_account_stored_bytes or None,
        },
        {
            "running_sessions": found.get(SessionState.RUNNING, 0),
            "queued_sessions": found.get(SessionState.NEW, 0),
            "stored_bytes": row.stored_bytes,
        },
    )
