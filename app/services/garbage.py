"""Stored objects that no row refers to: diffs of attempts that were lost, and uploads that no session came to use."""

from __future__ import annotations

import datetime
import hashlib
import itertools
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from app import artifacts, db
from app.config import settings
from app.models import AgentRunner, AgentRunnerSession, Publication, SessionFile
from app.services import diffs, uploads

_PREFIXES = (f"{diffs.SESSIONS}/", f"{diffs.RUNNERS}/", f"{uploads.PREFIX}/")
_COLUMNS = (
    AgentRunnerSession.result_diff_key,
    AgentRunnerSession.cumulative_diff_key,
    AgentRunnerSession.start_diff_key,
    AgentRunner.diff_key,
    Publication.diff_key,
    SessionFile.file_key,
)
"""Every column that holds the key of a stored object."""
AT_ONCE = 500


def find_unreferenced() -> Iterator[list[str]]:
    """Keys of old objects that nothing refers to, some at a time. It opens a transaction of its own.

    What is young may be about to be referred to: artifacts come first and rows second.
    """
    with db.transaction(read_only=True):
        known = {_digest(key) for key in _referenced()}
        oldest = db.session.scalar(sa.select(db.now(-settings().orphan_seconds)))
    assert isinstance(oldest, datetime.datetime)
    found = (
        key
        for prefix in _PREFIXES
        for key, stored_at in artifacts.store().list(prefix)
        if stored_at < oldest and _digest(key) not in known
    )
    while batch := list(itertools.islice(found, AT_ONCE)):
        yield batch


def delete(keys: Iterable[str]) -> int:
    """Delete those of the objects that nothing has come to refer to meanwhile; how many they were."""
    doomed = set(keys)
    for column in _COLUMNS:
        doomed -= set(db.session.scalars(sa.select(column).where(column.in_(doomed))))
    for key in doomed:
        artifacts.store().delete(key)
    return len(doomed)


def _referenced() -> Iterator[str]:
    for column in _COLUMNS:
        query = sa.select(column).where(column.is_not(None)).execution_options(yield_per=10_000)
        yield from (key for key in db.session.scalars(query) if key)


def _digest(key: str) -> int:
    """A number for a key, as a million keys would take a lot of memory. Two that share one are both kept."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
