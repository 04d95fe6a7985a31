"""The errors that callers see. The class sets the HTTP status and the default `error_code`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AppError(Exception):
    """A request that is refused. The caller sees the message as it is: what is wrong and what to do."""

    status = 500
    error_code = "internal"

    def __init__(
        self,
        message: str,
        *,
        error_code: str | None = None,
        errors: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code or type(self).error_code
        self.errors = dict(errors or {})
        self.headers = dict(headers or {})


class BadRequest(AppError):
    status, error_code = 400, "bad_request"


class Unauthorized(AppError):
    status, error_code = 401, "unauthorized"


class Forbidden(AppError):
    status, error_code = 403, "forbidden"


class NotFound(AppError):
    status, error_code = 404, "not_found"


class Conflict(AppError):
    status, error_code = 409, "conflict"


class TooLarge(AppError):
    status, error_code = 413, "too_large"


class Invalid(AppError):
    """A field that cannot be accepted. `errors` maps field names to lists of messages."""

    status, error_code = 422, "invalid"


class TooMany(AppError):
    status, error_code = 429, "too_many"


class Unavailable(AppError):
    status, error_code = 503, "unavailable"


def invalid(field: str, message: str, *, error_code: str | None = None) -> Invalid:
    """The error for one field. `message` follows the field's name, as in `size: must be at least 1`."""
    return Invalid(f"{field}: {message}", error_code=error_code, errors={field: [message]})
