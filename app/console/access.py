"""Who uses the console: the cookie of a session, and the checks that a form comes from our own pages."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from flask import Response, g, request

from app.api.auth import refuse_too_many
from app.config import settings
from app.console.assets import is_https
from app.errors import Forbidden, Unauthorized
from app.services.accounts import console_sessions
from app.services.callers import Caller

FIELD = "csrf"
_SAFE = ("GET", "HEAD", "OPTIONS")
_REFUSED = "This form is out of date, or came from another site. Go back, reload the page and try again."


def cookie_name() -> str:
    # Browsers accept this prefix only with Secure, without a Domain and for all paths: no other host can set it.
    return "__Host-agent-runners" if is_https() else "agent-runners"


def find_caller() -> Caller | None:
    """The caller of the request, by its cookie; None if there is no session, or it has ended."""
    text = request.cookies.get(cookie_name(), "")
    if not text.startswith("ar_"):
        return None
    try:
        return console_sessions.authenticate(text)
    except Unauthorized:
        return None


def caller() -> Caller:
    """The caller of the request in progress."""
    found: Caller = g.caller
    return found


def has_caller() -> bool:
    return g.caller is not None


def give_cookie(response: Response, text: str, seconds: float | None = None) -> Response:
    """Set the cookie: a session, or for somebody who is not signed in a random text that forms are checked with."""
    response.set_cookie(
        cookie_name(),
        text,
        max_age=round(seconds) if seconds else None,
        secure=is_https(),
        httponly=True,
        samesite="Lax",
    )
    return response


def take_cookie(response: Response) -> Response:
    """Delete the cookie."""
    response.delete_cookie(cookie_name(), secure=is_https(), httponly=True, samesite="Lax")
    return response


def csrf_token() -> str:
    """What each form of this browser must send. Only our own pages can know it, because they alone can be read with the
    cookie."""
    text = request.cookies.get(cookie_name())
    if not text:
        text = g.new_cookie = g.get("new_cookie") or secrets.token_urlsafe(32)
    return hmac.new(text.encode(), b"csrf", hashlib.sha256).hexdigest()


def check_form() -> None:
    """Refuse what changes something unless one of our own pages sent it; raises `Forbidden`."""
    if request.method in _SAFE:
        return
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc not in (request.host, urlsplit(settings().public_url).netloc):
        raise Forbidden(_REFUSED, error_code="bad_origin")
    sent = request.headers.get("X-CSRF-Token") or request.form.get(FIELD, "")
    is_known = bool(request.cookies.get(cookie_name()))
    if not is_known or not hmac.compare_digest(sent.encode(), csrf_token().encode()):
        raise Forbidden(_REFUSED, error_code="bad_form")


def sign_in(begin: str, by_link: bool) -> str:
    """Begin a session with a token or with the code of a link. Failures count as those of the API do."""
    try:
        return console_sessions.begin_with_link(begin) if by_link else console_sessions.begin(begin)
    except Unauthorized:
        refuse_too_many()
        raise
