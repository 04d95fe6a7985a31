"""What every artifact store can do."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

CHUNK = 256 * 1024


class StoreUnavailable(Exception):
    """The store did not answer, or could not take it for now; the same may succeed when it is asked again."""


def begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """A generator of chunks that has run up to its first, empty one.

    What it opens is opened at once, and is closed with it even where nobody comes to ask for a chunk.
    """
    next(chunks)
    return chunks


@dataclass(frozen=True)
class SignedUrl:
    """A request that anyone who holds it may make until `expires_at`, with exactly these headers."""

    url: str
    headers: dict[str, str]
    expires_at: datetime.datetime


@dataclass(frozen=True)
class Stored:
    """What is known of an object: its size in bytes, and when it was stored."""

    size: int
    stored_at: datetime.datetime


class Store(Protocol):
    """Bytes under keys. A key appears only once all its bytes are stored.

    Whatever asks the store raises `StoreUnavailable` where it does not answer, the chunks of a `read` too. A `put` may then be
    tried again, with chunks that start anew, and a `read` go on where it broke off.
    """

    def put(self, key: str, chunks: Iterable[bytes], *, limit: int | None = None) -> int:
        """Store the chunks under `key` and return how many bytes they were; raises `TooLarge` past `limit` bytes."""
        ...

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """The bytes under `key` after the first `start` ones, in chunks; raises `FileNotFoundError` at once where there is
        nothing."""
        ...

    def stat(self, key: str) -> Stored | None:
        """What is known of the object under `key`; None where there is nothing."""
        ...

    def list(self, prefix: str) -> Iterator[tuple[str, datetime.datetime]]:
        """The keys that begin with `prefix`, which ends in a slash, and when each was stored."""
        ...

    def delete(self, key: str) -> None:
        """Remove what is under `key`; nothing there is no error."""
        ...

    def signed_put(self, key: str, content_type: str, *, length: int | None, limit: int, seconds: int) -> SignedUrl:
        """A URL to put bytes of that type under `key`: exactly `length` of them where it is given, else up to `limit`
        where the store can check that."""
        ...

    def signed_get(self, key: str, *, seconds: int) -> SignedUrl:
        """A URL to read what is under `key`."""
        ...

    def signed_delete(self, key: str, *, seconds: int) -> SignedUrl:
        """A URL to delete what is under `key`."""
        ...
