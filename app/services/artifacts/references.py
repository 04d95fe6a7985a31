"""Which stored objects rows refer to, and how old one may be that a row comes to refer to."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from app import db
from app.artifacts import Stored
from app.config import settings
from app.errors import invalid
from app.models import AgentRunner, AgentRunnerSession, Publication, SessionFile

COLUMNS = (
    AgentRunnerSession.result_diff_key,
    AgentRunnerSession.cumulative_diff_key,
    AgentRunnerSession.start_diff_key,
    AgentRunner.diff_key,
    Publication.diff_key,
    SessionFile.file_key,
)
"""Every column that holds the key of a stored object."""
_USABLE = 0.9
"""The part of `orphan_seconds` for which an object may come to be used. What is left is time enough to commit the row
that refers to it: by the time the object is old enough to be deleted, that row is there to be seen."""


def every_key() -> Iterator[str]:
    """All keys that are referred to, some of them more than once."""
    for column in COLUMNS:
        query = sa.select(column).where(column.is_not(None)).execution_options(yield_per=10_000)
        yield from (key for key in db.session.scalars(query) if key)


def those_among(keys: Iterable[str]) -> set[str]:
    """Those of the keys that are referred to."""
    asked = list(keys)
    return {key for column in COLUMNS for key in db.session.scalars(sa.select(column).where(column.in_(asked))) if key}


def refuse_expired(field: str, key: str, stored: Stored) -> None:
    """Raise `Invalid` for an object that may be deleted at any moment, as it is old and nothing refers to it.

    Where no transaction is in progress it opens one.
    """
    with db.transaction(read_only=True):
        expired = stored.stored_at < moment(settings().orphan_seconds * _USABLE) and not those_among([key])
    if expired:
        message = f"{key!r} was stored too long ago without being used; upload it again"
        raise invalid(field, message, error_code="file_expired")


def moment(seconds: float) -> datetime.datetime:
    """When it was so many seconds ago, by the database's clock."""
    then = db.session.scalar(sa.select(db.now(-seconds)))
    assert isinstance(then, datetime.datetime)
    return then
