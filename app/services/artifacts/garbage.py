"""Stored objects that no row refers to: diffs of attempts that were lost, and uploads that no session came to use."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator

import structlog

from app import artifacts, db
from app.config import settings
from app.services.artifacts import diffs, references, uploads

log = structlog.get_logger()

_PREFIXES = (f"{diffs.SESSIONS}/", f"{diffs.RUNNERS}/", f"{uploads.PREFIX}/")
_AT_ONCE = 20


def collect() -> int:
    """Delete old objects that nothing refers to; how many they were.

    Its transactions are its own and short, and none is open while the store is asked, which may take its time.
    """
    deleted, found = 0, _find_unreferenced()
    while batch := list(itertools.islice(found, _AT_ONCE)):
        with db.transaction(read_only=True):
            doomed = set(batch) - references.those_among(batch)
        gone = _delete(doomed)
        deleted += gone
        if doomed and not gone:
            # Nor would the store take the next ones, and whoever waits for this worker waits for each of them.
            break
    return deleted


def _find_unreferenced() -> Iterator[str]:
    """What is young is left out, as it may be about to be referred to: artifacts come first and rows second."""
    with db.transaction(read_only=True):
        oldest = references.moment(settings().orphan_seconds)
        known = {_digest(key) for key in references.every_key()}
    for prefix in _PREFIXES:
        for key, stored_at in artifacts.store().list(prefix):
            if stored_at < oldest and _digest(key) not in known:
                yield key


def _delete(keys: Iterable[str]) -> int:
    deleted = 0
    for key in keys:
        try:
            artifacts.store().delete(key)
        except Exception as error:
            # It is found again the next time; the others are not to wait for that.
            log.warning("garbage_not_deleted", key=key, error=str(error))
        else:
            deleted += 1
    return deleted


def _digest(key: str) -> int:
    """A number for a key, as a million keys would take a lot of memory. Two that share one are both kept."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
