"""Which stored objects rows refer to, and until what age an unused object can still be used."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from app import db
from app.artifacts import Stored
from app.config import settings
from app.errors import invalid
from app.models import AgentRunner, AgentRunnerSession, Comparison, Publication, SessionFile

COLUMNS = (
    AgentRunnerSession.result_diff_key,
    AgentRunnerSession.cumulative_diff_key,
    AgentRunnerSession.start_diff_key,
    AgentRunnerSession.conversation_key,
    AgentRunner.diff_key,
    Publication.diff_key,
    Comparison.diff_key,
    SessionFile.file_key,
)
"""Every column that holds the key of a stored object."""
_USABLE = 0.9
"""The part of `orphan_seconds` during which an unused object can be used. The rest is enough time to commit the row that
refers to it, so that the row is visible before the object is old enough to be deleted."""


def every_key() -> Iterator[str]:
    """All keys that rows refer to, some of them more than once."""
    for column in COLUMNS:
        query = sa.select(column).where(column.is_not(None)).execution_options(yield_per=10_000)
        yield from (key for key in db.session.scalars(query) if key)


def find_referenced(keys: Iterable[str]) -> set[str]:
    """The subset of `keys` that rows refer to."""
    keys = list(keys)
    return {key for column in COLUMNS for key in db.session.scalars(sa.select(column).where(column.in_(keys))) if key}


def keys_of_runner(runner_id: uuid.UUID) -> set[str]:
    """The keys that the rows of a runner refer to."""
    sessions = sa.select(AgentRunnerSession.id).where(AgentRunnerSession.agent_runner_id == runner_id)
    found: set[str] = set()
    for column in COLUMNS:
        model: Any = column.class_
        if model is SessionFile:
            query = sa.select(column).where(SessionFile.session_id.in_(sessions))
        else:
            query = sa.select(column).where((model.id if model is AgentRunner else model.agent_runner_id) == runner_id)
        found.update(key for key in db.session.scalars(query) if key)
    return found


def refuse_expired(field: str, key: str, stored: Stored) -> None:
    """Raise `Invalid` for an object that may be deleted at any time, because it is old and nothing refers to it.

    Opens a transaction if none is in progress.
    """
    with db.transaction(read_only=True):
        expired = stored.stored_at < moment(settings().orphan_seconds * _USABLE) and not find_referenced([key])
    if expired:
        message = f"{key!r} was stored too long ago without being used; upload it again"
        raise invalid(field, message, error_code="file_expired")


def moment(seconds: float) -> datetime.datetime:
    """The time `seconds` ago, by the database's clock."""
    time = db.session.scalar(sa.select(db.now(-seconds)))
    assert isinstance(time, datetime.datetime)
    return time
