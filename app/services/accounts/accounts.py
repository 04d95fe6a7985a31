"""Accounts: created with their first user, listed, limited."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import sqlalchemy as sa

from app import db
from app.errors import Conflict, NotFound, invalid
from app.models import Account, AgentRunnerSession, User
from app.models.states import Role, Scope, SessionState
from app.services import lookup
from app.services.accounts import members, tokens
from app.services.unset import UNSET, Unset

LONGEST_NAME = 200


def init(account_name: str, email: str, full_name: str) -> tuple[User, str]:
    """Create the first account, its user and an administrator's token; raises `Conflict` if an account exists."""
    if db.session.scalar(sa.select(Account.id).limit(1)) is not None:
        message = (
            "This deployment is initialised already: it has an account. Use agent-runners account create for another."
        )
        raise Conflict(message, error_code="already_initialised")
    return create(account_name, email, full_name)


def create(account_name: str, email: str, full_name: str) -> tuple[User, str]:
    """Create an account with one user; returns the user and the text of an administrator's token.

    Raises `Invalid` for a malformed email address or a name of the wrong length, and `Conflict` if another user has the
    address.
    """
    for field, name in (("account", account_name), ("name", full_name)):
        if not 1 <= len(name) <= LONGEST_NAME:
            raise invalid(field, f"must have 1 to {LONGEST_NAME} characters")
    account = Account(name=account_name)
    db.session.add(account)
    db.session.flush()
    user = members.create_user(account.id, email, full_name, Role.ADMIN)
    return user, tokens.create(user, Scope.ADMIN, "first token")[1]


def find_all() -> list[Account]:
    """Every account, oldest first."""
    return list(db.session.scalars(sa.select(Account).order_by(Account.created_at)))


@dataclass(frozen=True, kw_only=True)
class AccountLimits:
    """Limits of an account. One that is left out keeps its value; None removes it."""

    max_concurrent_sessions: int | Unset | None = UNSET
    max_queued_sessions: int | Unset | None = UNSET


def set_limits(account_id: uuid.UUID, limits: AccountLimits) -> None:
    """Change the given limits and leave the others. Raises `NotFound`."""
    if db.session.get(Account, account_id) is None:
        message = f"There is no account with the id {account_id}. agent-runners account list shows all accounts."
        raise NotFound(message, error_code="account_not_found")
    account = lookup.lock_account(account_id)
    if limits.max_concurrent_sessions is not UNSET:
        account.max_concurrent_sessions = limits.max_concurrent_sessions
    if limits.max_queued_sessions is not UNSET:
        account.max_queued_sessions = limits.max_queued_sessions
    # Sessions that waited because of the limit are dispatched at once. Those of external workers are never dispatched.
    waiting = (AgentRunnerSession.account_id == account.id, AgentRunnerSession.state == SessionState.NEW)
    dispatched = sa.update(AgentRunnerSession).where(*waiting, AgentRunnerSession.next_dispatch_at.is_not(None))
    db.session.execute(dispatched.values(next_dispatch_at=db.now()))
