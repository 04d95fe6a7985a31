"""The content of files of Git LFS that sessions added, of which their diffs have pointers. The sessions of a runner share it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable

from app import artifacts

FOLDER = "agent-runner-lfs"


def put(runner_id: uuid.UUID, oid: str, read: Callable[[], Iterable[bytes]]) -> str:
    """Store what `read` reads, and return its key. Raises what `Store.put` raises."""
    key = key_of(runner_id, oid)
    artifacts.store().put(key, read())
    return key


def key_of(runner_id: uuid.UUID, oid: str) -> str:
    """The key of an object, by its SHA-256 in hexadecimal."""
    return f"{FOLDER}/{runner_id}/{oid}"
