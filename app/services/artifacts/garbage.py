"""Deletes stored objects that no row refers to: diffs of lost attempts, and uploads that no session used. It sees all
objects, so it also adds up what each account stores.

The index of a diff is kept as long as a row refers to the diff.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator

import sqlalchemy as sa
import structlog

from app import artifacts, db
from app.config import settings
from app.models import AgentRunner
from app.services.accounts import storage
from app.services.artifacts import conversations, deletions, diff_index, diffs, lfs_objects, references, uploads

log = structlog.get_logger()

_FOLDERS = (
    *(diffs.SESSIONS, diffs.RUNNERS, diff_index.FOLDER, conversations.FOLDER, lfs_objects.FOLDER),
    uploads.PREFIX,
)
_AT_ONCE = 20
_RUNNERS = 1000
# How many sessions of earlier releases are measured in one transaction, and in how many of these each time.
_EARLIER_AT_ONCE, _EARLIER_TIMES = 200, 50


def collect() -> int:
    """Delete old objects that nothing refers to; returns how many were deleted.

    It opens short transactions of its own. None is open during calls to the store, which may be slow.
    """
    deleted = deletions.delete_requested()
    with db.transaction(read_only=True):
        before = storage.every_account()
    measure = _Measure()
    found = _find_unreferenced(measure)
    while batch := list(itertools.islice(found, _AT_ONCE)):
        with db.transaction(read_only=True):
            referenced = references.find_referenced(map(diff_index.diff_key_of, batch))
            oldest = references.moment(settings().orphan_seconds)
        unreferenced = [key for key in batch if diff_index.diff_key_of(key) not in referenced]
        count = _delete(unreferenced, oldest)
        deleted += count
        if unreferenced and not count:
            # The store would fail on the next ones too, and other tasks wait for this worker.
            return deleted
    with db.transaction():
        storage.correct(before, measure.finish())
    return deleted


class _Measure:
    """Adds up the sizes of objects by account. Memory grows with the number of accounts only."""

    def __init__(self) -> None:
        self._of_accounts: Counter[str] = Counter()
        self._of_runners: Counter[str] = Counter()

    def add(self, key: str, size: int) -> None:
        # Keys are FOLDER/OWNER/...
        folder, owner, *_ = diff_index.diff_key_of(key).split("/")
        if folder == uploads.PREFIX:
            self._of_accounts[owner] += size
        else:
            self._of_runners[owner] += size
            if len(self._of_runners) >= _RUNNERS:
                self._find_accounts()

    def finish(self) -> dict[uuid.UUID, int]:
        self._find_accounts()
        for _ in range(_EARLIER_TIMES):
            with db.transaction():
                if not storage.measure_earlier_texts(_EARLIER_AT_ONCE):
                    break
        with db.transaction(read_only=True):
            total = Counter(storage.texts_of_accounts())
        total.update({uuid.UUID(owner): size for owner, size in self._of_accounts.items() if _is_id(owner)})
        return total

    def _find_accounts(self) -> None:
        ids = [uuid.UUID(owner) for owner in self._of_runners if _is_id(owner)]
        query = sa.select(AgentRunner.id, AgentRunner.account_id).where(AgentRunner.id.in_(ids))
        with db.transaction(read_only=True):
            for runner_id, account_id in db.session.execute(query):
                self._of_accounts[str(account_id)] += self._of_runners[str(runner_id)]
        self._of_runners.clear()


def _is_id(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return str(uuid.UUID(text)) == text
    return False


def _find_unreferenced(measure: _Measure) -> Iterator[str]:
    """Skips young objects: a row may be about to refer to one, because artifacts are stored before their rows. All others
    are measured."""
    with db.transaction(read_only=True):
        oldest = references.moment(settings().orphan_seconds)
        known = {_digest(key) for key in references.every_key()}
    for folder in _FOLDERS:
        for key, stored in artifacts.store().list(f"{folder}/"):
            if stored.stored_at < oldest and _digest(diff_index.diff_key_of(key)) not in known:
                yield key
            else:
                measure.add(key, stored.size)


def _delete(keys: Iterable[str], oldest: datetime.datetime) -> int:
    deleted = 0
    for key in keys:
        try:
            # Another session of the runner may have stored the same object of Git LFS since it was listed.
            if (stored := artifacts.store().stat(key)) and stored.stored_at >= oldest:
                continue
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
