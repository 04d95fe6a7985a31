"""Engines of the database: what its connections are set to, and when they are checked."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import sqlalchemy as sa

SQLITE_BUSY_MILLISECONDS = 20_000
SQLITE_WAL_BYTES = 16 * 1024**2
# A connection to a server that stopped responding ends after some ten seconds, not after the quarter of an hour that TCP
# takes: a heartbeat must get another one before its lease expires. The server in turn ends a transaction in which the
# client is idle, as a frozen process is: it holds locks.
# See "Parameter Key Words" of libpq and "Client Connection Defaults" in PostgreSQL's documentation.
_POSTGRES = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "options": "-c idle_in_transaction_session_timeout=30s",
}

_PING_AFTER_SECONDS = 1.0


def make(url: str) -> sa.Engine:
    """An engine with this product's settings: WAL on SQLite, psycopg 3 on Postgres."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        # Only who uses Postgres needs its driver.
        from app.postgres_cursor import Cursor

        given = {name: value for name, value in _POSTGRES.items() if name not in parsed.query}
        engine = sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=10,
            max_overflow=40,
            # Parameters in the operator's URL take precedence.
            connect_args={**given, "cursor_factory": Cursor},
        )
        _ping_when_idle(engine)
        return engine
    engine = sa.create_engine(
        parsed, connect_args={"timeout": SQLITE_BUSY_MILLISECONDS / 1000}, pool_size=10, max_overflow=60
    )
    sa.event.listen(engine, "do_connect", _create_privately)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _ping_when_idle(engine: sa.Engine) -> None:
    """Check a connection before its use if it was idle for a moment. A check of each, as by `pool_pre_ping`, takes a
    round trip for every transaction."""

    def note_use(_connection: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    def ping(connection: Any, record: Any, _fairy: Any) -> None:
        used_at = record.info.get("used_at")
        if used_at is None or time.monotonic() - used_at < _PING_AFTER_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # What ended this connection has ended the others, too.
            raise sa.exc.InvalidatePoolError from error

    sa.event.listen(engine, "checkin", note_use)
    sa.event.listen(engine, "checkout", ping)


def _create_privately(_dialect: Any, _record: Any, arguments: list[Any], _options: Any) -> None:
    """Create the file of the database for our user only, wherever it is. SQLite gives its other files the same mode."""
    name = arguments[0]
    # Without a folder, or one that may be written, SQLite raises the error.
    if name and name != ":memory:" and not name.startswith("file:"):
        with contextlib.suppress(OSError):
            os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # Keeps the driver from beginning a transaction; `app.db` does.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")
    # The file of the WAL grows while a long reader, such as a backup, keeps it from starting over. Then it is cut again.
    connection.execute(f"PRAGMA journal_size_limit={SQLITE_WAL_BYTES}")
