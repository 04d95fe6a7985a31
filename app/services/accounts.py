"""The first account and its user."""

from __future__ import annotations

import sqlalchemy as sa

from app import db
from app.errors import Conflict
from app.models import Account, User
from app.models.states import Scope
from app.services import tokens


def init(account_name: str, email: str, full_name: str) -> tuple[User, str]:
    """Make the first account, its user and an administrator's token; raises `Conflict` where there is an account already."""
    if db.session.scalar(sa.select(Account.id).limit(1)) is not None:
        raise Conflict("this deployment has an account already", error_code="already_initialised")
    return create(account_name, email, full_name)


def create(account_name: str, email: str, full_name: str) -> tuple[User, str]:
    """Make an account with one user; returns the user and the text of an administrator's token."""
    account = Account(name=account_name)
    db.session.add(account)
    db.session.flush()
    user = User(account_id=account.id, email=email, full_name=full_name)
    db.session.add(user)
    db.session.flush()
    return user, tokens.create(user, Scope.ADMIN, "first token")[1]
