"""Ids in the paths of requests."""

from __future__ import annotations

import uuid

import httpx

from app.client.errors import ClientError


def id_in_path(text: str) -> str:
    """An id for a path. Anything else could make it another path, such as `../sites`."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ClientError(f"{text!r} is not an id", status=httpx.codes.NOT_FOUND, error_code="not_found") from None
