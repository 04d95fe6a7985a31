"""Error responses: every response that is not a success has the same shape."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestedRangeNotSatisfiable,
    RequestEntityTooLarge,
)
from werkzeug.http import HTTP_STATUS_CODES

from app.errors import AppError

log = structlog.get_logger()

# The codes of errors that the framework raises.
ERROR_CODES = {
    400: "bad_request",
    404: "route_not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    500: "internal",
    503: "unavailable",
}
_KEPT_HEADERS = ("allow", "content-range", "retry-after")


class FrameworkError(AppError):
    """An error of the framework or an unexpected one, with the status that it has there."""

    def __init__(self, status: int, message: str, error_code: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, error_code=error_code, headers=headers)
        self.status = status


def register(app: Flask, answer: Callable[[AppError], Response]) -> None:
    """Have `answer` answer every error of `app`: our own, the framework's and unexpected ones."""
    app.register_error_handler(AppError, answer)
    app.register_error_handler(HTTPException, lambda error: answer(_from_framework(error)))
    app.register_error_handler(Exception, lambda error: answer(_from_unexpected(error)))


def answer(error: AppError) -> Response:
    """An error in the shape of the API. `error` repeats `message`, because older clients read only that."""
    body = {
        "code": error.status,
        "status": HTTP_STATUS_CODES.get(error.status, "Error"),
        "message": error.message,
        "error": error.message,
        "error_code": error.error_code,
        "errors": error.errors,
    }
    return Response(json.dumps(body), error.status, error.headers, mimetype="application/json")


def _from_framework(error: HTTPException) -> AppError:
    status = error.code or 500
    kept = {name: value for name, value in error.get_headers() if name.lower() in _KEPT_HEADERS}
    return FrameworkError(status, _message(error), ERROR_CODES.get(status, f"http_{status}"), kept)


def _message(error: HTTPException) -> str:
    """The message for a framework error. The framework's own messages are written for people with a browser."""
    match error:
        case NotFound():
            return f"There is no path {request.path}. /api/v1/docs lists all paths."
        case MethodNotAllowed():
            methods = ", ".join(sorted(error.valid_methods or ()))
            return f"{request.path} does not accept {request.method}, only {methods}."
        case RequestEntityTooLarge():
            return "The request is too large."
        case RequestedRangeNotSatisfiable():
            return "The Range header must name one part that lies in the content, such as bytes=0-99."
    return error.description or ""


def _from_unexpected(error: Exception) -> AppError:
    log.error("request_failed", exc_info=error)
    message = (
        "The server failed unexpectedly. Give the operator this answer's X-Request-Id: it is in the server's logs."
    )
    return FrameworkError(500, message, "internal")
