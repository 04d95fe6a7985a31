"""Which web pages may call the API from a browser."""

from __future__ import annotations

from flask import Flask
from flask_cors import CORS

from app.config import settings

_READABLE = ["Total", "Link", "Location", "Retry-After", "Idempotent-Replayed", "X-Request-Id"]
_SENDABLE = ["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-Id"]
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def register(app: Flask) -> None:
    """Let pages of the origins that the operator names call the API. A caller is known by a token, never by a cookie."""
    if settings().cors_origins:
        origins = list(settings().cors_origins)
        rules = {"origins": origins, "methods": _METHODS, "allow_headers": _SENDABLE, "expose_headers": _READABLE}
        CORS(app, resources={r"/api/.*": rules}, max_age=600)
