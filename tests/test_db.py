"""Transactions: what is part of what, and what happens after a commit."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing

import pytest
import sqlalchemy as sa

from app import db, engines
from app.models import Counter


def names() -> list[str]:
    with db.transaction(read_only=True):
        return list(db.session.scalars(sa.select(Counter.name)))


def test_an_after_commit_callback_that_fails_does_not_stop_the_others(record, capsys):
    ran = []

    def fail() -> None:
        raise ConnectionError("nobody listens")

    with db.transaction():
        db.session.add(Counter(name="stored"))
        db.after_commit(fail)
        db.after_commit(lambda: ran.append("the next one"))
    assert names() == ["stored"] and ran == ["the next one"]
    assert "after_commit_failed" in "".join(capsys.readouterr())


def test_after_commit_callbacks_do_not_run_after_a_rollback(record):
    ran = []
    with pytest.raises(ValueError), db.transaction():
        db.session.add(Counter(name="stored"))
        db.after_commit(lambda: ran.append("it"))
        raise ValueError
    assert names() == [] and ran == []


def test_a_transaction_that_writes_is_no_part_of_one_that_reads(record):
    with db.transaction(read_only=True), pytest.raises(RuntimeError, match="read-only"), db.transaction():
        db.session.add(Counter(name="stored"))
    with db.transaction(), db.transaction(read_only=True), db.transaction():
        db.session.add(Counter(name="kept"))
    assert names() == ["kept"]


@pytest.fixture
def lenient_umask():
    """The process's umask takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_the_files_of_sqlite_are_for_our_user_only(tmp_path, lenient_umask):
    engine = db.make_engine(f"sqlite:///{tmp_path / 'db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (x)"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    engine.dispose()
    assert modes == {"db": 0o600, "db-wal": 0o600, "db-shm": 0o600}


def test_the_wal_of_sqlite_shrinks_once_a_long_reader_has_gone(tmp_path):
    engine = db.make_engine(f"sqlite:///{tmp_path / 'db'}")

    def write(bytes_each: int, times: int) -> None:
        for _ in range(times):
            with engine.begin() as connection:
                connection.execute(sa.text("INSERT INTO t VALUES (zeroblob(:size))"), {"size": bytes_each})

    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (x)"))
    with closing(sqlite3.connect(tmp_path / "db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM t").fetchall()
        write(engines.SQLITE_WAL_BYTES // 4, 8)
        assert (tmp_path / "db-wal").stat().st_size > 1.5 * engines.SQLITE_WAL_BYTES
    write(1, 3)
    assert (tmp_path / "db-wal").stat().st_size <= engines.SQLITE_WAL_BYTES
    engine.dispose()


def test_nothing_follows_the_commit_of_no_transaction(record):
    with pytest.raises(RuntimeError, match="No transaction"):
        db.after_commit(lambda: None)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_connections_that_the_server_ended_are_replaced(record):
    def end_connections() -> None:
        mine = "pid <> pg_backend_pid() AND datname = current_database()"
        with record.begin() as connection:
            connection.execute(sa.text(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {mine}"))

    def answers() -> bool:
        try:
            db.ping()
        except db.UNAVAILABLE:
            return False
        return True

    with db.engine().connect(), db.engine().connect():
        pass  # From now on the pool has several.
    end_connections()
    # One that was idle for a moment is checked first.
    time.sleep(1.1)
    db.ping()
    end_connections()
    # One that was used just now may fail. Then no other one fails, however many there are.
    assert [answers() for _ in range(5)].count(False) <= 1


def test_each_result_names_its_columns(record):
    query = sa.text("SELECT 1 AS one, 2 AS two")
    with record.connect() as connection:
        for _ in range(2):
            assert dict(connection.execute(query).mappings().one()) == {"one": 1, "two": 2}
        cursor = connection.exec_driver_sql("SELECT 3 AS three").cursor
        assert [column[0] for column in cursor.description] == ["three"]
