"""Deletes stored objects that no row refers to: diffs of lost attempts, and uploads that no session used.

The index of a diff is kept as long as a row refers to the diff.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator

import structlog

from app import artifacts, db
from app.config import settings
from app.services.artifacts import diff_index, diffs, references, uploads

log = structlog.get_logger()

_PREFIXES = (f"{diffs.SESSIONS}/", f"{diffs.RUNNERS}/", f"{diff_index.FOLDER}/", f"{uploads.PREFIX}/")
_AT_ONCE = 20


def collect() -> int:
    """Delete old objects that nothing refers to; returns how many were deleted.

    It opens short transactions of its own. None is open during calls to the store, which may be slow.
    """
    deleted, found = 0, _find_unreferenced()
    while batch := list(itertools.islice(found, _AT_ONCE)):
        with db.transaction(read_only=True):
            referenced = references.find_referenced(map(diff_index.diff_key_of, batch))
        unreferenced = [key for key in batch if diff_index.diff_key_of(key) not in referenced]
        count = _delete(unreferenced)
        deleted += count
        if unreferenced and not count:
            # The store would fail on the next ones too, and other tasks wait for this worker.
            break
    return deleted


def _find_unreferenced() -> Iterator[str]:
    """Skips young objects: a row may be about to refer to one, because artifacts are stored before their rows."""
    with db.transaction(read_only=True):
        oldest = references.moment(settings().orphan_seconds)
        known = {_digest(key) for key in references.every_key()}
    for prefix in _PREFIXES:
        for key, stored_at in artifacts.store().list(prefix):
            if stored_at < oldest and _digest(diff_index.diff_key_of(key)) not in known:
                yield key


def _delete(keys: Iterable[str]) -> int:
    deleted = 0
    for key in keys:
        try:
            artifacts.store().delete(key)
        except Exception as error:
            # It is found again the next time, and must not delay the others.
            log.warning("garbage_delete_failed", key=key, error=str(error))
        else:
            deleted += 1
    return deleted


def _digest(key: str) -> int:
    """A short hash of a key, because a million keys would take much memory. On a collision both objects are kept."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
