"""Whose request it probably is, as soon as its head is here."""

from __future__ import annotations

import hashlib
from typing import Any

_MOST_REMEMBERED = 4096
# What is signed is below `/api/v1/blobs/KIND/OWNER/`, and what other systems deliver below `/api/v1/hooks/HOOK`.
_MOST_SEGMENTS = 6


class Callers:
    """Remembers by the head of a request whose it turned out to be, for the next one that is alike.

    That may be wrong, so it decides nothing but where a request is served: there it is authenticated.
    """

    def __init__(self) -> None:
        self._by_key: dict[bytes, str] = {}

    def remember(self, key: bytes, who: str) -> None:
        self._by_key.pop(key, None)
        self._by_key[key] = who
        if len(self._by_key) > _MOST_REMEMBERED:
            del self._by_key[next(iter(self._by_key))]

    def find(self, key: bytes) -> str | None:
        return self._by_key.get(key)


def key_of(client: Any, head: Any) -> bytes:
    """What requests of one caller have in common: the address, and the token, or else the cookies, or else the beginning of
    the path.

    `head` is the request of h11. The key is a digest, so that no secret is kept. Whoever sends other cookies each time is
    not recognised, and costs the time of a thread that finds out whose request it is.
    """
    tokens = [value.split() for name, value in head.headers if name == b"authorization"]
    cookies = [value for name, value in head.headers if name == b"cookie"]
    beginning = head.target.partition(b"?")[0].split(b"/", _MOST_SEGMENTS)[:_MOST_SEGMENTS]
    shared = ("token", tokens) if tokens else ("cookies", cookies) if cookies else ("path", beginning)
    return hashlib.blake2b(repr((client and client[0], shared)).encode(), digest_size=16).digest()
