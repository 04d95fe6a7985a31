"""What other processes commit: when there may be something new, and up to which time everything is there."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from app import db

SQLITE_POLL_SECONDS = 0.05


def settled_until() -> datetime.datetime:
    """A time before which no row will be added any more that is stamped with `now()` when it is inserted.

    Transactions become visible in another order than they began in, so a reader who continues after the newest time that
    it has seen would miss rows. On Postgres, writing transactions that are still open insert after they began. Only those of
    clients count: autovacuum writes as well, and may wait for seconds. All processes must use the same user: the times of
    others are hidden. On SQLite, call it in a writing transaction: then no other is open.
    """
    if db.dialect() == "postgresql":
        # The statement's time is taken before the transactions are looked at.
        oldest = "least(statement_timestamp(), min(xact_start))"
        others = "datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        query = sa.text(f"SELECT {oldest} AS time FROM pg_stat_activity WHERE {others} AND backend_xid IS NOT NULL")
        settled = db.session.scalar(query.columns(time=db.Timestamp()))
    else:
        settled = db.session.scalar(sa.select(db.now()))
    assert settled is not None
    return settled


def changes(channel: str, seconds: float) -> Iterator[set[str]]:
    """Wait for commits, and yield what they announced on `channel` (NOTIFY of Postgres).

    An empty set says that there may be more: at the start, after each `seconds` without news, and on SQLite, which has
    no announcements, after any commit. Ends when the process is pointed at another database.
    """
    engine = db.engine()
    wait = _notifications if engine.dialect.name == "postgresql" else _commits
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        # Closed at the end, because in the pool it would continue receiving.
        connection.detach()
        try:
            for found in wait(driver, channel, seconds):
                if engine is not db.engine():
                    return
                yield found
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.OperationalError(None, None, error) from error


def _notifications(driver: Any, channel: str, seconds: float) -> Iterator[set[str]]:
    driver.autocommit = True
    driver.execute(f"LISTEN {channel}")
    yield set()
    while True:
        yield {each.payload for each in driver.notifies(timeout=seconds, stop_after=1)}


def _commits(driver: Any, _channel: str, seconds: float) -> Iterator[set[str]]:
    seen, looked_at = None, 0.0
    while True:
        # Changes with each commit of another connection, and costs no more than reading a number.
        (version,) = driver.execute("PRAGMA data_version").fetchone()
        if version != seen or time.monotonic() - looked_at > seconds:
            seen, looked_at = version, time.monotonic()
            yield set()
        time.sleep(SQLITE_POLL_SECONDS)
