"""Signed URLs, and those of the API itself: its route `/blobs` serves them, and asks `verify`."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from app import keys
from app.errors import Forbidden


@dataclass(frozen=True)
class SignedUrl:
    """A request that anyone with the URL may make until `expires_at`, with exactly these headers."""

    url: str
    headers: dict[str, str]
    expires_at: datetime.datetime


class OwnUrls:
    """Signs URLs below the address that callers reach the API at."""

    def __init__(self, public_url: str) -> None:
        self._base = f"{public_url.rstrip('/')}/api/v1/blobs/"

    def put(self, key: str, content_type: str, *, length: int | None, limit: int, seconds: int) -> SignedUrl:
        terms = {"type": content_type, "limit": str(limit)}
        headers = {"Content-Type": content_type}
        if length is not None:
            terms["length"] = headers["Content-Length"] = str(length)
        return self._signed("PUT", key, terms, headers, seconds)

    def get(self, key: str, *, seconds: int) -> SignedUrl:
        return self._signed("GET", key, {}, {}, seconds)

    def delete(self, key: str, *, seconds: int) -> SignedUrl:
        return self._signed("DELETE", key, {}, {}, seconds)

    def _signed(self, method: str, key: str, terms: dict[str, str], headers: dict[str, str], seconds: int) -> SignedUrl:
        expires = int(time.time()) + seconds
        terms = {**terms, "expires": str(expires)}
        signature = keys.sign(_text_to_sign(method, key, terms))
        url = f"{self._base}{quote(key)}?{urlencode({**terms, 'signature': signature})}"
        return SignedUrl(url, headers, datetime.datetime.fromtimestamp(expires, datetime.UTC))

    def verify(self, method: str, key: str, terms: dict[str, str]) -> dict[str, str]:
        """The terms of a signed URL. Raises `Forbidden` unless it was signed for this request and is still valid."""
        terms = dict(terms)
        signature = terms.pop("signature", "")
        if not keys.is_signed(_text_to_sign(method, key, terms), signature):
            raise Forbidden(
                "The URL was not signed for this request. Send exactly the method and the headers that it came with.",
                error_code="bad_signature",
            )
        if int(terms["expires"]) < time.time():
            raise Forbidden("The URL has expired. Request a new one.", error_code="url_expired")
        return terms


def _text_to_sign(method: str, key: str, terms: dict[str, str]) -> str:
    return f"{method}\n{key}\n{urlencode(sorted(terms.items()))}"
