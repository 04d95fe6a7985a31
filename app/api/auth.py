"""Authentication: the bearer token of a request becomes `g.caller`."""

from __future__ import annotations

import structlog
from flask import g, request

from app import db, rate_limits
from app.config import settings
from app.errors import Unauthorized
from app.services.accounts import tokens
from app.services.callers import Caller
from app.serving.shares import take_share

log = structlog.get_logger()

_TOO_MANY = "Too many requests without a valid token came from your address. Check the token."
_CHALLENGE = 'Bearer realm="agent-runners"'


def identify() -> None:
    """Authenticate the request. Runs before each request of a blueprint that is not open."""
    try:
        _identify()
    except Unauthorized:
        refuse_too_many()
        raise
    structlog.contextvars.bind_contextvars(user_id=str(g.caller.user_id), token_id=str(g.caller.token_id))


def refuse_too_many() -> None:
    """Count a failed authentication of the client's address; raises `TooMany` beyond the limit.

    Those of an address have a share in the server's threads as the requests of an account have.
    """
    take_share(request.environ, f"failed authentications of {request.remote_addr}", is_account=False)
    most = settings().max_failed_authentications_per_minute
    rate_limits.count("failed_authentications", request.remote_addr or "", most, _TOO_MANY)


def _identify() -> None:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        raise Unauthorized(
            "The request has no bearer token. Send the header Authorization: Bearer <token>.",
            error_code="token_missing",
            headers={"WWW-Authenticate": _CHALLENGE},
        )
    try:
        with db.transaction(read_only=True):
            g.caller = tokens.authenticate(text)
    except Unauthorized as error:
        error.headers["WWW-Authenticate"] = f'{_CHALLENGE}, error="invalid_token"'
        raise
    if g.caller.use_is_due:
        _record_use(g.caller)


def _record_use(caller: Caller) -> None:
    """Record when the token was used. A database that cannot be written to at the moment still answers what is read."""
    try:
        with db.transaction():
            tokens.record_use(caller.token_id)
    except db.UNAVAILABLE as error:
        log.warning("token_use_not_recorded", error=type(error).__name__)


def caller() -> Caller:
    """The caller of the request in progress."""
    found: Caller = g.caller
    return found
