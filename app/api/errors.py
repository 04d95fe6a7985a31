"""Every answer that is no success, in the one shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES

from app.errors import AppError

log = structlog.get_logger()

# What the framework refuses by itself.
ERROR_CODES = {
    400: "bad_request",
    404: "route_not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "too_large",
    415: "unsupported_media_type",
    500: "internal",
    503: "unavailable",
}


def register(app: Flask) -> None:
    """Have every error of `app`, our own, the framework's or unforeseen, answered in the one shape."""
    app.register_error_handler(AppError, answer)
    app.register_error_handler(HTTPException, _answer_framework)
    app.register_error_handler(Exception, _answer_broken)


def answer(error: AppError) -> Response:
    return shaped(error.status, error.message, error.error_code, errors=error.errors, headers=error.headers)


def shaped(
    status: int,
    message: str,
    error_code: str,
    *,
    errors: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The one shape. `error` repeats `message`, because older clients read only that."""
    body = {
        "code": status,
        "status": HTTP_STATUS_CODES.get(status, "Error"),
        "message": message,
        "error": message,
        "error_code": error_code,
        "errors": dict(errors or {}),
    }
    return Response(json.dumps(body), status, dict(headers or {}), mimetype="application/json")


def _answer_framework(error: HTTPException) -> Response:
    status = error.code or 500
    kept = {name: value for name, value in error.get_headers() if name.lower() in ("allow", "retry-after")}
    return shaped(status, _in_words(error), ERROR_CODES.get(status, f"http_{status}"), headers=kept)


def _in_words(error: HTTPException) -> str:
    """What the framework refuses, in words that suit an API: its own are for people with a browser."""
    match error:
        case NotFound():
            return f"there is no path {request.path}; /api/v1/docs lists those there are"
        case MethodNotAllowed():
            return f"{request.path} does not take {request.method}, only {', '.join(sorted(error.valid_methods or ()))}"
        case RequestEntityTooLarge():
            return "the request is too large"
    return error.description or ""


def _answer_broken(error: Exception) -> Response:
    log.error("request_broken", exc_info=error)
    return shaped(
        500, "something broke on our side; the header X-Request-Id of this answer names it in our logs", "internal"
    )
