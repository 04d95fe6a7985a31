"""What happens around every request: its id, the checks of its body, and its line in the log."""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import Any

import structlog
from flask import Flask, Response, g, request

from app.errors import AppError, TooLarge

MAX_BODY_BYTES = 8 * 1024 * 1024
_PROBES = ("/healthz", "/readyz", "/metrics")
# What is no page of ours may load nothing, and nothing may be shown inside of another page.
_POLICY = "default-src 'none'; frame-ancestors 'none'"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
log = structlog.get_logger("app.requests")


class UnsupportedMediaType(AppError):
    status, error_code = 415, "unsupported_media_type"


def register(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_end)
    app.teardown_request(lambda _error: structlog.contextvars.clear_contextvars())


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.began = time.monotonic()
    # Only a plain id is accepted, because it appears in logs and in a header of the response.
    g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    # Probes and scrapes come every few seconds, and are only of interest when they fail.
    write = log.debug if request.path in _PROBES and response.status_code < 400 else log.info
    # The query is left out of the path: that of a signed URL is a credential.
    write(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        milliseconds=round((time.monotonic() - g.began) * 1000, 1),
    )
    return response


def strings_in_body(name: str) -> list[str]:
    """The strings under `name` in a JSON body that is not validated yet: one, those of a list, or none."""
    value = json_in_body().get(name)
    return [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, str)]


def json_in_body() -> dict[str, Any]:
    """A JSON body that is not validated yet. Empty if it is no object."""
    try:
        body = json.loads(request.get_data())
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def check_body() -> None:
    """Refuse a body that is too large or is not JSON, before anything else reads it."""
    if request.method not in ("POST", "PATCH"):
        return
    # A chunked body has no length to check, and the framework cuts it off at this limit without an error.
    request.max_content_length = MAX_BODY_BYTES + 1
    if (request.content_length or 0) > MAX_BODY_BYTES or len(request.get_data()) > MAX_BODY_BYTES:
        raise TooLarge(f"The body is too large. It may have at most {MAX_BODY_BYTES} bytes.")
    if request.get_data() and not request.is_json:
        raise UnsupportedMediaType(
            f"The Content-Type of the body is {request.content_type or 'missing'}. Send Content-Type: application/json."
        )
