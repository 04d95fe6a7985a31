"""The port for artifact stores."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from app.artifacts.signed_urls import OwnUrls, SignedUrl

CHUNK = 256 * 1024


class StoreUnavailable(Exception):
    """The store did not answer, or cannot do this at the moment. A retry may succeed."""


def started(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """A generator of chunks, advanced to its first chunk, which is empty.

    So the file is opened immediately, and closed with the generator even if no chunk is ever read.
    """
    next(chunks)
    return chunks


@dataclass(frozen=True)
class Stored:
    """An object's size in bytes, and when it was stored."""

    size: int
    stored_at: datetime.datetime


class Store(Protocol):
    """Bytes under keys. A key exists only after all its bytes are stored.

    Every method, and the chunks of a `read`, raises `StoreUnavailable` if the store does not answer. A `put` may then
    be retried with the chunks from the start, and a `read` continued where it stopped.
    """

    urls: OwnUrls
    """Those signed URLs of the store that lead to the API."""

    def put(self, key: str, chunks: Iterable[bytes], *, limit: int | None = None) -> int:
        """Store the chunks under `key` and return their size. Raises `TooLarge` if they exceed `limit` bytes."""
        ...

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes under `key` from offset `start` to before `end`, in chunks. Raises `FileNotFoundError` at once if
        missing. `start` must lie within the object, and before `end`."""
        ...

    def stat(self, key: str) -> Stored | None:
        """Size and time of the object under `key`; None if there is none."""
        ...

    def list(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        """The keys that begin with `prefix`, which ends with a slash, and what is stored under each."""
        ...

    def delete(self, key: str) -> None:
        """Delete the object under `key`. A missing object is not an error."""
        ...

    def signed_put(self, key: str, content_type: str, *, length: int | None, limit: int, seconds: int) -> SignedUrl:
        """A URL to upload bytes of that type to `key`: exactly `length` if it is given, else at most `limit`."""
        ...

    def signed_get(self, key: str, *, seconds: int) -> SignedUrl:
        """A URL to read the object under `key`."""
        ...

    def signed_delete(self, key: str, *, seconds: int) -> SignedUrl:
        """A URL to delete the object under `key`."""
        ...
