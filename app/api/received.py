"""Reads what other systems deliver: a JSON object of a limited size, and their id of the delivery."""

from __future__ import annotations

import hashlib
from typing import Any

from flask import request

from app.api.blueprint import read_json
from app.api.requests import UnsupportedMediaType
from app.errors import TooLarge, invalid

MOST_BYTES = 1024 * 1024
_LONGEST_ID = 200
_DELIVERY_IDS = (
    "webhook-id",
    "X-GitHub-Delivery",
    "X-Gitlab-Event-UUID",
    "X-Gitea-Delivery",
    "X-Request-UUID",
    "Idempotency-Key",
)


def read_body() -> bytes:
    """The body; raises `TooLarge`."""
    request.max_content_length = MOST_BYTES + 1
    if (request.content_length or 0) > MOST_BYTES or len(body := request.get_data()) > MOST_BYTES:
        raise TooLarge(f"The body is too large. A delivery may have at most {MOST_BYTES} bytes.")
    return body


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in the body."""
    if not request.is_json:
        raise UnsupportedMediaType(
            f"The Content-Type of the body is {request.content_type or 'missing'}. Configure the sender to send JSON, with "
            "Content-Type: application/json."
        )
    data = read_json(body, None)
    if not isinstance(data, dict):
        raise invalid("the body", "must be an object")
    return data


def delivery_id() -> str | None:
    """The sender's id of the delivery. None: it sent none."""
    given = next((request.headers[name] for name in _DELIVERY_IDS if request.headers.get(name)), None)
    if given is not None and len(given) > _LONGEST_ID:
        raise invalid("the delivery's id", f"must have at most {_LONGEST_ID} characters")
    return given


def delivery_digest(body: bytes) -> str:
    """An id of a delivery whose sender gives none: the same body is the same delivery."""
    return hashlib.sha256(body).hexdigest()
