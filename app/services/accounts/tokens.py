"""Tokens: created, shown once, looked up by their digest, revoked."""

from __future__ import annotations

import datetime
import functools
import hashlib
import secrets
import uuid
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from app import db
from app.errors import Conflict, NotFound, Unauthorized, invalid
from app.models import Token, User
from app.models.states import Scope, TokenPurpose
from app.services import pagination
from app.services.callers import Caller, scope_within
from app.services.pagination import Listing, Page

PREFIX = "ar_"
USE_SECONDS = 600.0
"""How far `last_used_at` may be behind: each use would be a write otherwise."""
_LISTED = (Token.session_id.is_(None), Token.purpose == TokenPurpose.API)


def authenticate(text: str, purpose: TokenPurpose = TokenPurpose.API) -> Caller:
    """The holder of a token of that purpose; raises `Unauthorized` if it is unknown, revoked or expired."""
    return _only(_by_digest(), {"digest": _digest(text, purpose)})


def get_caller(token_id: uuid.UUID) -> Caller:
    """The holder of a token that was accepted before; raises `Unauthorized` if it was revoked since then."""
    return _only(_accepted().where(Token.id == token_id), {})


def find_callers(token_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Caller]:
    """The holders of those of the tokens that are still accepted, by token id."""
    found = [_caller(row) for row in db.session.execute(_accepted().where(Token.id.in_(token_ids)))]
    return {caller.token_id: caller for caller in found}


def _only(query: sa.Select[*tuple[Any, ...]], values: dict[str, Any]) -> Caller:
    found = db.session.execute(query, values).one_or_none()
    if found is None:
        raise Unauthorized(
            "The token is unknown, was revoked or has expired. Create a new one with POST /tokens or "
            "`agent-runners token create`.",
            error_code="bad_token",
        )
    return _caller(found)


def _caller(row: Any) -> Caller:
    account_id, user_id, role, token_id, scope, *rest = row
    return Caller(account_id, user_id, token_id, scope_within(role, scope), *rest)


@functools.cache
def _accepted() -> sa.Select[*tuple[Any, ...]]:
    whose = (User.account_id, User.id, User.role)
    use_is_due = sa.or_(Token.last_used_at.is_(None), Token.last_used_at < db.now(-USE_SECONDS))
    columns = (Token.id, Token.scope, Token.session_id, Token.attempt, use_is_due)
    is_fresh = sa.or_(Token.expires_at.is_(None), Token.expires_at > db.now())
    accepted = (Token.revoked_at.is_(None), is_fresh, User.disabled_at.is_(None))
    return sa.select(*whose, *columns).join(User, User.id == Token.user_id).where(*accepted)


@functools.cache
def _by_digest() -> sa.Select[*tuple[Any, ...]]:
    """Every request begins with it, so it is made once."""
    return _accepted().where(Token.digest == sa.bindparam("digest"))


def record_use(token_id: uuid.UUID) -> None:
    """Record that a token is used now. Call it where `use_is_due` of its holder says so."""
    db.session.execute(sa.update(Token).where(Token.id == token_id).values(last_used_at=db.now()))


def create(
    user: User,
    scope: Scope,
    name: str,
    created_with: uuid.UUID | None = None,
    expires_at: datetime.datetime | None = None,
) -> tuple[Token, str]:
    """Create a token; returns it with its text, which is not stored."""
    return _create(user_id=user.id, scope=scope, name=name, created_with=created_with, expires_at=expires_at)


def create_for_attempt(caller: Caller, session_id: uuid.UUID, attempt: int) -> str:
    """The text of a new token that can report only on that attempt. It is revoked together with the caller's token."""
    name = f"session {session_id} attempt {attempt}"
    purpose = {"session_id": session_id, "attempt": attempt, "claimed_with": caller.token_id}
    return _create(user_id=caller.user_id, scope=Scope.WORKER, name=name, **purpose)[1]


def _create(**fields: Any) -> tuple[Token, str]:
    text = PREFIX + secrets.token_urlsafe(32)
    token = Token(digest=_digest(text, fields.get("purpose", TokenPurpose.API)), **fields)
    db.session.add(token)
    db.session.flush()
    return token, text


def create_for_console(caller: Caller, purpose: TokenPurpose, name: str, seconds: float) -> tuple[Token, str]:
    """Create a session of the console, or a link that begins one, for a number of seconds; returns it with its text.

    It allows what the caller's token allows, and ends together with that.
    """
    latest = _latest_expiry(caller)
    ends = db.session.scalar(sa.select(db.now(seconds)))
    assert ends is not None
    validity = {"purpose": purpose, "expires_at": min(ends, latest) if latest else ends}
    return _create(user_id=caller.user_id, scope=caller.scope, name=name, created_with=caller.token_id, **validity)


def create_for_caller(
    caller: Caller, scope: Scope, name: str, expires_at: datetime.datetime | None = None
) -> tuple[Token, str]:
    """Create a token of the caller's own user, which is revoked together with the caller's token.

    It expires with the caller's token, or at `expires_at` if that is earlier. Raises `Forbidden` for a scope that the
    caller does not have, and `Invalid` for a time that has passed or is later than the caller's.
    """
    caller.require(Scope.WRITE)
    caller.require(scope)
    latest = _latest_expiry(caller)
    if expires_at is not None and expires_at <= datetime.datetime.now(datetime.UTC):
        raise invalid("expires_at", "must be in the future", error_code="bad_expiry")
    if expires_at is not None and latest is not None and expires_at > latest:
        message = f"must not be later than {latest:%Y-%m-%dT%H:%M:%SZ}, when your own token expires"
        raise invalid("expires_at", message, error_code="bad_expiry")
    user = db.session.get_one(User, caller.user_id)
    return create(user, scope, name, caller.token_id, expires_at or latest)


def _latest_expiry(caller: Caller) -> datetime.datetime | None:
    """When the token that the caller acts with expires: of a session of the console, the one that it was begun with."""
    token = db.session.get(Token, caller.token_id)
    while token is not None and token.purpose != TokenPurpose.API and token.created_with is not None:
        token = db.session.get(Token, token.created_with)
    return token.expires_at if token is not None and token.purpose == TokenPurpose.API else None


def create_for_email(
    email: str, scope: Scope, name: str, expires_at: datetime.datetime | None = None
) -> tuple[Token, str]:
    """Create a token of the user with that address; raises `NotFound`, and `Conflict` for a disabled user."""
    user = db.session.scalar(sa.select(User).where(User.email == email))
    if user is None:
        raise NotFound(f"No user has the address {email}. Check its spelling.", error_code="user_not_found")
    if user.disabled_at is not None:
        raise Conflict(f"The user {email} is disabled. Enable it first.", error_code="user_disabled")
    return create(user, scope, name, expires_at=expires_at)


def find_all() -> list[Token]:
    """Every token except session tokens and those of the console, oldest first, including revoked ones."""
    return list(db.session.scalars(sa.select(Token).where(*_LISTED).order_by(Token.created_at)))


def find_own(caller: Caller, filters: dict[str, Any]) -> Page[Token]:
    """A page of the caller's own tokens, oldest first. An administrator sees all tokens of the account."""
    caller.require(Scope.READ)
    return pagination.find(Listing(Token, (Token.created_at, Token.id), [_visible_to(caller)]), filters)


def _visible_to(caller: Caller) -> list[sa.ColumnElement[bool]]:
    users = sa.select(User.id).where(User.account_id == caller.account_id)
    mine = Token.user_id.in_(users) if caller.may(Scope.ADMIN) else Token.user_id == caller.user_id
    return [*_LISTED, mine]


def revoke(token_id: uuid.UUID, caller: Caller | None = None) -> None:
    """Revoke a token, with the tokens made with it and the session tokens of claims made with any of them.

    The caller's own token stays if it was made with that one, so that it can take its place. Revoking a token again is
    not an error. A caller can revoke the tokens that `find_own` returns, the command line any. Raises `NotFound`.
    """
    if caller is not None:
        caller.require(Scope.WRITE)
    found = list(_LISTED) if caller is None else _visible_to(caller)
    token = db.session.scalar(sa.select(Token).where(Token.id == token_id, *found))
    if token is None:
        raise NotFound("You have no token with this id. Check the list of tokens.", error_code="token_not_found")
    _revoke(Token.id.in_(sa.select(_made_with(token, caller).c.id)))


def revoke_all(user_id: uuid.UUID) -> None:
    """Revoke all tokens of a user, and end its sessions of the console."""
    _revoke(Token.user_id == user_id)


def revoke_console(caller: Caller, *, everywhere: bool) -> None:
    """Revoke the session of the console that the caller uses, or all sessions and links of the caller's user."""
    mine = (Token.user_id == caller.user_id, Token.purpose != TokenPurpose.API)
    _revoke(*mine, sa.true() if everywhere else Token.id == caller.token_id)


def _revoke(*which: sa.ColumnElement[bool]) -> None:
    revoked = sa.update(Token).where(*which, Token.revoked_at.is_(None)).values(revoked_at=db.now())
    db.session.execute(revoked.execution_options(synchronize_session=False))


def _made_with(token: Token, caller: Caller | None) -> sa.CTE:
    """The ids of the token and of those made with it, directly or not, except the caller's and those made with that."""
    made = sa.select(Token.id).where(Token.id == token.id).cte("made", recursive=True)
    kept = caller.token_id if caller is not None and caller.token_id != token.id else None
    # A token is of the same user as the one that it was made with, and users are indexed.
    child = sa.select(Token.id).where(Token.user_id == token.user_id, Token.id.is_distinct_from(kept))
    return made.union(child.join(made, sa.or_(Token.created_with == made.c.id, Token.claimed_with == made.c.id)))


def _digest(text: str, purpose: TokenPurpose) -> str:
    # The text has 256 random bits, so a slow hash would add no security. What is for another purpose has another digest
    # than a token with the same text, so that it cannot be used in its place.
    prefix = "" if purpose == TokenPurpose.API else f"{purpose.value}:"
    return hashlib.sha256(f"{prefix}{text}".encode()).hexdigest()
