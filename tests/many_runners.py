"""A list of any length: copies of one runner, made by the database."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Iterator

import sqlalchemy as sa

_POSTGRES = {
    "numbers": "SELECT n FROM generate_series(1, {count}) n",
    "id": "lpad(to_hex(n), 32, '0')::uuid",
    "earlier": "one.{column} + ({later} - 30 * n) * interval '1 second'",
}
_SQLITE = {
    "numbers": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s",
    "id": "printf('%032x', n)",
    "earlier": "strftime('%Y-%m-%d %H:%M:%f000', one.{column}, ({later} - 30 * n) || ' seconds')",
}
_VALUES = {
    "state": "CASE n % 4 WHEN 0 THEN 'ARCHIVED' WHEN 1 THEN 'ERROR' ELSE 'DONE' END",
    "title": "'Task number ' || n",
    "title_folded": "'task number ' || n",
    "branch": "'branch-' || (n % 50)",
    "result_branch": "'agent/' || n",
    "latest_session_agent": "'agent-' || (n % 50)",
    "parent_agent_runner_id": "CASE n % 100 WHEN 0 THEN one.id END",
    "pr_state": "CASE n % 10 WHEN 0 THEN 'open' WHEN 1 THEN 'merged' END",
}
_SECONDS = {"created_at": 0, "last_session_created_at": 0, "updated_at": 60, "changed_before": 3660}
"""How long after its creation."""


def copy_runner(engine: sa.Engine, runner_id: str, count: int) -> None:
    """Add `count` copies of a runner with one session, each half a minute older than the one before. They differ in
    title, prompt, branches, agent, pull request and state, and one in a hundred started from the original. Then do what
    the database does by itself after a while, so that it knows their number."""
    on = _SQLITE if engine.dialect.name == "sqlite" else _POSTGRES
    numbers = f"({on['numbers'].format(count=count)}) numbers"
    older = {name: on["earlier"].format(column="created_at", later=later) for name, later in _SECONDS.items()}
    of_runner = {**_VALUES, **older, "id": on["id"], "latest_session_id": on["id"]}
    of_session = {
        "id": "runner.id",
        "agent_runner_id": "runner.id",
        "state": "'DONE'",
        "created_at": "runner.created_at",
    }
    of_event = {
        "id": "runner.id",
        "agent_runner_id": "runner.id",
        "session_id": "runner.id",
        "created_at": "runner.created_at",
        "prompt_folded": "'do ' || runner.title_folded",
    }
    with engine.begin() as connection:
        original = {"id": uuid.UUID(runner_id)}
        runners = f"agent_runners one, {numbers} WHERE one.id = :id"
        _copy(connection, "agent_runners", of_runner, runners, original)
        sessions = (
            "agent_runner_sessions one, agent_runners runner WHERE one.agent_runner_id = :id AND runner.id <> :id"
        )
        _copy(connection, "agent_runner_sessions", of_session, sessions, original)
        with _unannounced(connection):
            events = (
                "events one, agent_runners runner WHERE one.agent_runner_id = :id AND one.prompt_folded IS NOT NULL "
                "AND runner.latest_session_id = runner.id"
            )
            _copy(connection, "events", of_event, events, original)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE" if engine.dialect.name == "sqlite" else "VACUUM ANALYZE"))


@contextlib.contextmanager
def _unannounced(connection: sa.Connection) -> Iterator[None]:
    """Tell no one of events that are added meanwhile."""
    if connection.dialect.name == "sqlite":
        yield
        return
    connection.execute(sa.text("ALTER TABLE events DISABLE TRIGGER announce_events"))
    yield
    connection.execute(sa.text("ALTER TABLE events ENABLE TRIGGER announce_events"))


def _copy(
    connection: sa.Connection, table: str, changed: dict[str, str], rows: str, original: dict[str, uuid.UUID]
) -> None:
    """Insert what `rows` finds, with the columns of `one` except for those that are `changed`."""
    columns = [column["name"] for column in sa.inspect(connection).get_columns(table)]
    values = ", ".join(changed.get(name, f"one.{name}") for name in columns)
    insert = sa.text(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {rows}")
    connection.execute(insert.bindparams(sa.bindparam("id", type_=sa.Uuid())), original)


def remove_runners(engine: sa.Engine) -> None:
    """Delete all runners and sessions at once: row by row, each would be looked up where others may refer to it."""
    tables = ("events", "publications", "session_files", "agent_runner_sessions", "agent_runners")
    if engine.dialect.name == "sqlite":
        # A connection of the driver's own does not enforce foreign keys.
        with contextlib.closing(sqlite3.connect(engine.url.database or "", timeout=20)) as connection, connection:
            for table in tables:
                connection.execute(f"DELETE FROM {table}")
        return
    with engine.begin() as connection:
        connection.execute(sa.text(f"TRUNCATE {', '.join(tables)} CASCADE"))
