"""Accounts, which are teams, their users, and the users' tokens."""

from __future__ import annotations

import datetime
import uuid

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base, StateType
from app.models.states import Role, Scope, TokenPurpose


class Account(Base):
    __tablename__ = "accounts"

    name: Mapped[str] = mapped_column(String(200))
    max_concurrent_sessions: Mapped[int | None]
    max_queued_sessions: Mapped[int | None]
    stored_bytes: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    """What the account stores in files and diffs (`app/services/accounts/storage.py`)."""
    last_claimed_at: Mapped[datetime.datetime | None]
    """When a session of the account was last claimed. Among accounts that wait, the one with the earliest time is next."""


class User(Base):
    __tablename__ = "users"

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id"), index=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    full_name: Mapped[str] = mapped_column(String(200))
    avatar_url: Mapped[str | None] = mapped_column(String(2000))
    role: Mapped[Role] = mapped_column(StateType(Role), default=Role.ADMIN, server_default=Role.ADMIN.value)
    disabled_at: Mapped[datetime.datetime | None]
    """Since when the user's tokens are refused."""


IS_LISTED = sa.text("session_id IS NULL")


class Token(Base):
    """A bearer token, stored as the SHA-256 of its text.

    A session token, made for an external worker's attempt, also has that attempt and the token that claimed it. Sessions
    of the console, and links that begin one, are tokens too. Their digests differ, so the API does not take them.
    """

    __tablename__ = "tokens"
    __table_args__ = (
        Index("ix_tokens_listed", "user_id", "created_at", "id", sqlite_where=IS_LISTED, postgresql_where=IS_LISTED),
    )

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    scope: Mapped[Scope] = mapped_column(StateType(Scope))
    session_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agent_runner_sessions.id"), index=True)
    attempt: Mapped[int | None]
    claimed_with: Mapped[uuid.UUID | None]
    created_with: Mapped[uuid.UUID | None]
    """The token of the request that made this one, which is revoked with it. None: the command line made it."""
    revoked_at: Mapped[datetime.datetime | None]
    expires_at: Mapped[datetime.datetime | None]
    last_used_at: Mapped[datetime.datetime | None]
    """When it was last used, to within `USE_SECONDS` of `app/services/accounts/tokens.py`."""
    purpose: Mapped[TokenPurpose] = mapped_column(
        StateType(TokenPurpose), default=TokenPurpose.API, server_default=TokenPurpose.API.value
    )

    user: Mapped[User] = relationship(lazy="joined")
