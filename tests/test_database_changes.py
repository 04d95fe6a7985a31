"""Up to which time everything that other processes commit is there, on a real Postgres."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from app import database_changes, db
from tests.deployment import wait_for

AUTOVACUUM = """
    SELECT xact_start FROM pg_stat_activity
    WHERE query LIKE 'autovacuum: % public.emptied' AND wait_event = 'VacuumTruncate' AND backend_xid IS NOT NULL
"""


@pytest.fixture
def server(record: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that is in no transaction, to a server that looks once a second for what is to be vacuumed."""
    with record.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ALTER SYSTEM SET autovacuum_naptime = '1s'")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
        yield connection
        connection.exec_driver_sql("ALTER SYSTEM RESET autovacuum_naptime")
        connection.exec_driver_sql("SELECT pg_reload_conf()")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_what_the_server_does_by_itself_holds_no_events_back(server, record):
    server.exec_driver_sql("CREATE TABLE emptied (text TEXT) WITH (autovacuum_vacuum_threshold = 1)")
    try:
        server.exec_driver_sql("INSERT INTO emptied SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
        server.exec_driver_sql("DELETE FROM emptied")
        with record.begin() as reader:
            # To give the room back, autovacuum has to lock the table. It waits for this reader for seconds.
            reader.exec_driver_sql("LOCK TABLE emptied IN ACCESS SHARE MODE")
            began = wait_for("an autovacuum", lambda: server.scalar(sa.text(AUTOVACUUM)), pause=0.01)
            with db.transaction(read_only=True):
                assert database_changes.settled_until() > began
    finally:
        server.exec_driver_sql("DROP TABLE emptied")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_an_open_transaction_that_has_written_holds_them_back(record):
    with record.begin() as writer:
        began = writer.scalar(sa.text("SELECT now()"))
        with db.transaction(read_only=True):
            assert database_changes.settled_until() > began, "it has only read"
        writer.exec_driver_sql("CREATE TABLE written (number INTEGER)")
        with db.transaction(read_only=True):
            assert database_changes.settled_until() <= began
        writer.rollback()
