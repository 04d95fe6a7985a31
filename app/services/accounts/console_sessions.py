"""Sessions of the console: begun with a token of the API, ended by signing out or by the revocation of that token.

A session is a token of its own, which only the console takes. So all rules about tokens hold for it as well: an event
stream ends when its session is revoked, and a session never allows more than the token that it was begun with.
"""

from __future__ import annotations

import datetime

import sqlalchemy as sa

from app import db
from app.errors import Unauthorized
from app.models import Token
from app.models.states import Scope, TokenPurpose
from app.services.accounts import tokens
from app.services.callers import Caller

SESSION_SECONDS = 30 * 24 * 3600.0
LINK_SECONDS = 600.0


def begin(text: str) -> str:
    """Begin a session with the text of a token; returns the text of the session, which is not stored.

    Raises `Unauthorized` for an unknown token and `Forbidden` for one of an external worker's session.
    """
    caller = tokens.authenticate(text)
    caller.require(Scope.READ)
    if caller.use_is_due:
        tokens.record_use(caller.token_id)
    return _begin(caller)


def authenticate(text: str) -> Caller:
    """The holder of a session; raises `Unauthorized` if it has ended."""
    return tokens.authenticate(text, TokenPurpose.CONSOLE)


def create_link(caller: Caller) -> tuple[str, datetime.datetime]:
    """A code that begins one session of the caller's, and when it expires."""
    caller.require(Scope.READ)
    link, code = tokens.create_for_console(caller, TokenPurpose.LINK, "console link", LINK_SECONDS)
    db.session.refresh(link)
    assert link.expires_at is not None
    return code, link.expires_at


def begin_with_link(code: str) -> str:
    """Begin a session with a code of `create_link`, which is used up. Raises `Unauthorized`."""
    try:
        caller = tokens.authenticate(code, TokenPurpose.LINK)
    except Unauthorized:
        raise _no_link() from None
    mine = (Token.id == caller.token_id, Token.revoked_at.is_(None))
    used = sa.update(Token).where(*mine).values(revoked_at=db.now()).returning(Token.id)
    if db.session.scalar(used) is None:
        raise _no_link()
    return _begin(caller)


def _no_link() -> Unauthorized:
    message = "This link was used already or has expired. Make another one with `agent-runners console`, or sign in with a token."
    return Unauthorized(message, error_code="bad_token")


def _begin(caller: Caller) -> str:
    return tokens.create_for_console(caller, TokenPurpose.CONSOLE, "console", SESSION_SECONDS)[1]


def end(caller: Caller, *, everywhere: bool = False) -> None:
    """End the caller's session, or all sessions of the caller's user."""
    tokens.revoke_console(caller, everywhere=everywhere)
