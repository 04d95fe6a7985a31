"""Which web pages may call the API from a browser."""

from __future__ import annotations

from flask import Flask
from flask_cors import CORS

from app.config import settings

_EXPOSED_HEADERS = [
    "Total",
    "Total-Capped",
    "Link",
    "Location",
    "Retry-After",
    "Repr-Digest",
    "Idempotent-Replayed",
    "X-Request-Id",
]
_ALLOWED_HEADERS = ["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-Id"]
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def register(app: Flask) -> None:
    """Let pages from the operator's origins call the API. Callers are identified by a token, never by a cookie."""
    if settings().cors_origins:
        origins = list(settings().cors_origins)
        rules = {
            "origins": origins,
            "methods": _METHODS,
            "allow_headers": _ALLOWED_HEADERS,
            "expose_headers": _EXPOSED_HEADERS,
        }
        CORS(app, resources={r"/api/.*": rules}, max_age=600)
