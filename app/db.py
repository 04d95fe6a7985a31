"""Transactions, the database's clock, and what happens after a commit.

The outermost caller (a view, a task, a command) opens `with transaction():`. Services and models never commit.
`session` is the ORM's session of the transaction in progress.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
import structlog
import uuid_utils.compat
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from app import engines

log = structlog.get_logger()

_engine: sa.Engine | None = None
_url: str | None = None
_configured_by: int | None = None
_factory = orm.sessionmaker(expire_on_commit=False)
session: orm.scoped_session[orm.Session] = orm.scoped_session(_factory)
_local = threading.local()

DatabaseError = sa.exc.DBAPIError
"""What a database or its driver raises, with the driver's own error as `orig`."""

UNAVAILABLE = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError, sa.exc.TimeoutError)
"""What is raised when the database is gone, restarting or too busy: a later try may succeed. Postgres reports as
internal errors that a server became read-only, and that it ended a transaction for being idle."""


def new_id() -> uuid.UUID:
    """A UUIDv7 (RFC 9562): unique, and ordered by the time it was made."""
    return uuid_utils.compat.uuid7()


def configure(url: str) -> None:
    """Point this process at a database. Call it again after a fork: connections must not be shared.

    The engine stays the same, so that a process has the statements that its parent has compiled.
    """
    global _engine, _url, _configured_by
    if _engine is not None:
        # The parent still uses the sockets that a fork copied, so they are dropped without being closed.
        _engine.dispose(close=_configured_by == os.getpid())
    if _engine is None or url != _url:
        _engine, _url = make_engine(url), url
        _factory.configure(bind=_engine)
    _configured_by = os.getpid()


def engine() -> sa.Engine:
    """The engine of this process. `configure` may replace it."""
    assert _engine is not None, "No database is configured."
    return _engine


def close() -> None:
    """Close the connections of this process. It opens new ones when it needs them."""
    if _engine is not None:
        _engine.dispose()


def make_engine(url: str) -> sa.Engine:
    """An engine for transactions of this module. A read-only one takes no write lock on SQLite."""
    engine = engines.make(url)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: sa.Connection) -> None:
    # In SQLite a transaction that has read and then writes cannot wait for another writer: it fails at once. So
    # writers take the write lock at the start, where the busy timeout applies.
    connection.exec_driver_sql("BEGIN" if getattr(_local, "read_only", False) else "BEGIN IMMEDIATE")


@contextlib.contextmanager
def transaction(*, read_only: bool = False) -> Iterator[None]:
    """Open a transaction, or join the one in progress. A writing transaction cannot join a read-only one.

    On success it commits, then runs the `after_commit` callbacks. On any exception it rolls back and drops them.
    """
    if getattr(_local, "open", False):
        if _local.read_only and not read_only:
            # On SQLite it would lack the write lock, and fail sometimes while another writer is busy.
            raise RuntimeError("A writing transaction cannot join a read-only one.")
        yield
        return
    _local.open, _local.read_only, _local.callbacks = True, read_only, []
    try:
        yield
        session.commit()
    except BaseException:
        session.rollback()
        _local.callbacks = []
        raise
    finally:
        session.remove()
        _local.open = False
    for callback in _local.callbacks:
        _run(callback)


def _run(callback: Callable[[], None]) -> None:
    # The commit stands even if this fails, so the caller must not get an error.
    try:
        callback()
    except Exception:
        log.exception("after_commit_failed")


def after_commit(callback: Callable[[], None]) -> None:
    """Run `callback` once the transaction in progress has been committed; never if it is rolled back.

    An exception in a callback is logged. The other callbacks still run, and the caller gets no error.
    """
    if not getattr(_local, "open", False):
        raise RuntimeError("No transaction is in progress.")
    _local.callbacks.append(callback)


def dialect() -> str:
    """`sqlite` or `postgresql`."""
    return session.get_bind().dialect.name


def insert(model: type[orm.DeclarativeBase] | sa.Table) -> Any:
    """An INSERT that supports `ON CONFLICT`, which SQLAlchemy implements for each database separately."""
    return (postgresql.insert if dialect() == "postgresql" else sqlite.insert)(model)


def lock(name: str) -> None:
    """Take the deployment-wide lock `name` and hold it to the end of the transaction; waits for another holder.

    On SQLite the transaction itself is such a lock.
    """
    if dialect() == "postgresql":
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(name))))


def plan_for_values() -> None:
    """Have Postgres plan the statements of this transaction for the values in them, instead of once for all values.

    Use it where the best plan depends on a value, such as a text that occurs in many rows or in few.
    """
    if dialect() == "postgresql":
        session.execute(sa.text("SET LOCAL plan_cache_mode = force_custom_plan"))


def ping() -> None:
    """Raise unless the database answers."""
    with transaction(read_only=True):
        session.execute(sa.text("SELECT 1"))


class Timestamp(sa.types.TypeDecorator[datetime.datetime]):
    """A time in UTC. SQLite stores text of a fixed width, so that comparing text compares times."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: sa.Dialect) -> datetime.datetime | None:
        return None if value is None else value.astimezone(datetime.UTC)

    def process_result_value(self, value: datetime.datetime | None, dialect: sa.Dialect) -> datetime.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value.astimezone(datetime.UTC)


class now(FunctionElement[datetime.datetime]):
    """The database's clock, which alone decides about leases, plus some seconds if they are given."""

    type = Timestamp()
    inherit_cache = True
    name = "now"

    def __init__(self, plus_seconds: float | sa.ColumnElement[float] | None = None) -> None:
        if isinstance(plus_seconds, int | float):
            plus_seconds = sa.literal(plus_seconds, sa.Float())
        super().__init__(*(() if plus_seconds is None else (plus_seconds,)))


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: Any, **kw: Any) -> str:
    # now() is the start of the transaction, which may have waited for a lock since then.
    seconds = compiler.process(element.clauses, **kw)
    return f"(clock_timestamp() + make_interval(secs => {seconds}))" if seconds else "clock_timestamp()"


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    more = f", ({seconds}) || ' seconds'" if seconds else ""
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now'{more})"


class within_hours(FunctionElement[datetime.datetime]):
    """The end of the hour after the present one, by the database's clock: the same time for an hour."""

    type = Timestamp()
    inherit_cache = True
    name = "within_hours"


@compiles(within_hours, "postgresql")
def _within_hours_postgresql(_element: within_hours, _compiler: Any, **_kw: Any) -> str:
    return "(date_trunc('hour', clock_timestamp()) + interval '2 hours')"


@compiles(within_hours, "sqlite")
def _within_hours_sqlite(_element: within_hours, _compiler: Any, **_kw: Any) -> str:
    return "strftime('%Y-%m-%d %H:00:00.000000', 'now', '+2 hours')"


class today(FunctionElement[datetime.date]):
    """The day of UTC, by the database's clock."""

    type = sa.Date()
    inherit_cache = True
    name = "today"


@compiles(today, "postgresql")
def _today_postgresql(_element: today, _compiler: Any, **_kw: Any) -> str:
    return "((clock_timestamp() AT TIME ZONE 'UTC')::date)"


@compiles(today, "sqlite")
def _today_sqlite(_element: today, _compiler: Any, **_kw: Any) -> str:
    return "date('now')"


class byte_length(FunctionElement[int]):
    """The size of a text in UTF-8."""

    type = sa.Integer()
    inherit_cache = True
    name = "byte_length"


@compiles(byte_length, "postgresql")
def _byte_length_postgresql(element: byte_length, compiler: Any, **kw: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **kw)})"


@compiles(byte_length, "sqlite")
def _byte_length_sqlite(element: byte_length, compiler: Any, **kw: Any) -> str:
    return f"length(CAST({compiler.process(element.clauses, **kw)} AS BLOB))"


class spans(FunctionElement[bool]):
    """Whether the period from one time until before another, or without end if that is null, includes a third. On Postgres
    it has an index for runners."""

    type = sa.Boolean()
    inherit_cache = True
    name = "spans"


@compiles(spans, "postgresql")
def _spans_postgresql(element: spans, compiler: Any, **kw: Any) -> str:
    begin, end, moment = (compiler.process(each, **kw) for each in element.clauses)
    return f"(tstzrange({begin}, greatest({begin}, coalesce({end}, 'infinity'))) @> {moment})"


@compiles(spans, "sqlite")
def _spans_sqlite(element: spans, compiler: Any, **kw: Any) -> str:
    begin, end, moment = (compiler.process(each, **kw) for each in element.clauses)
    return f"({begin} <= {moment} AND ({end} IS NULL OR {moment} < {end}))"
