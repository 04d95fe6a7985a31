"""The migrations make the tables that the models describe, on both databases, and can be taken back."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app import db
from app.models import Base
from migrations.config import alembic_config, migrate
from migrations.indexes import CHANGES, ONLY_ON_POSTGRES, PROMPTS, TITLES
from tests.postgres import postgres_database


@pytest.fixture(params=["sqlite", "postgres"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database, without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'a 100% new.db'}"
    else:
        with postgres_database() as url:
            yield url


@pytest.fixture
def engine(fresh_url: str) -> Iterator[sa.Engine]:
    engine = db.make_engine(fresh_url)
    yield engine
    engine.dispose()


def tables(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names()) - {"alembic_version"}


def differ_in_length(_context: object, _found: object, _column: object, found: Any, wanted: Any) -> bool | None:
    """Alembic takes a text of any length for one of each length. It is another type to the server, though, and so to a
    connection that has prepared a statement."""
    wanted = getattr(wanted, "impl", wanted)
    if isinstance(found, sa.String) and isinstance(wanted, sa.String) and found.length != wanted.length:
        return True
    return None


def test_models_and_migrations_agree_and_each_can_be_repeated_and_taken_back(fresh_url: str, engine: sa.Engine) -> None:
    migrate(fresh_url)
    with engine.connect() as connection:
        options = {
            "compare_type": differ_in_length,
            "include_object": lambda _item, name, *_: name not in ONLY_ON_POSTGRES,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
    migrate(fresh_url)
    assert tables(engine) == set(Base.metadata.tables), "to migrate again is no error"
    assert_one_session_is_active(engine)
    if engine.dialect.name == "postgresql":
        assert_an_index_whose_build_was_interrupted_is_built_again(fresh_url, engine)
    command.downgrade(alembic_config(fresh_url), "base")
    assert tables(engine) == set()
    migrate(fresh_url)
    assert tables(engine) == set(Base.metadata.tables)


def assert_one_session_is_active(engine: sa.Engine) -> None:
    """A runner has one active session at most, even past the code."""
    indexes = {index["name"]: index for index in sa.inspect(engine).get_indexes("agent_runner_sessions")}
    assert indexes["uq_agent_runner_sessions_active"]["unique"]
    with engine.connect() as connection:
        query = (
            "SELECT sql FROM sqlite_master WHERE name = 'uq_agent_runner_sessions_active'"
            if engine.dialect.name == "sqlite"
            else "SELECT indexdef FROM pg_indexes WHERE indexname = 'uq_agent_runner_sessions_active'"
        )
        assert "WHERE" in (connection.scalar(sa.text(query)) or "")


def assert_an_index_whose_build_was_interrupted_is_built_again(url: str, engine: sa.Engine) -> None:
    names = ["ix_agent_runners_by_agent", CHANGES, TITLES, PROMPTS]
    with engine.begin() as connection:
        for name in names:
            invalid = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(:name)"
            connection.execute(sa.text(invalid), {"name": name})
    command.stamp(alembic_config(url), "0068")
    assert migrate(url) == ""
    with engine.connect() as connection:
        valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)"
        assert all(connection.scalar(sa.text(valid), {"name": name}) for name in names)


def test_runners_that_were_there_before_are_found_by_all_filters(fresh_url: str, engine: sa.Engine) -> None:
    command.upgrade(alembic_config(fresh_url), "0008")
    tables = sa.MetaData()
    tables.reflect(engine)

    def add(table: str, **values: object) -> uuid.UUID:
        """A row with `values`, and with something in every other column that must not be null."""
        some = {sa.DateTime: datetime.datetime.now(datetime.UTC), sa.Integer: 0, sa.Boolean: False, sa.JSON: []}
        needed = [
            column for column in tables.tables[table].columns if not column.nullable and column.name not in values
        ]
        row = {column.name: next((v for k, v in some.items() if isinstance(column.type, k)), "x") for column in needed}
        row |= {"id": db.new_id(), **values}
        keys = {
            name: value.hex if isinstance(value, uuid.UUID) and engine.dialect.name == "sqlite" else value
            for name, value in row.items()
        }
        with engine.begin() as connection:
            connection.execute(tables.tables[table].insert().values(keys))
        return row["id"]

    account = add("accounts")
    user, site = add("users", account_id=account), add("sites", account_id=account)
    whose = {"account_id": account, "user_id": user, "site_id": site}
    for number in range(3):
        session_id = db.new_id()
        runner = add("agent_runners", title=f"GRÖSSE {number}", latest_session_id=session_id, **whose)
        of_runner = {"agent_runner_id": runner, "id": session_id}
        add("agent_runner_sessions", **of_runner, **whose, prompt=f"Ändere\n {number}", agent="codex")
        for seq, kind in enumerate(("state", "step", "state"), 1):
            add("events", agent_runner_id=runner, session_id=session_id, seq=seq, kind=kind)
    migrate(fresh_url)
    with engine.connect() as connection:
        found = connection.scalars(sa.text("SELECT title_folded FROM agent_runners ORDER BY title")).all()
        prompts = connection.execute(
            sa.text("SELECT prompt_folded, seq FROM events WHERE prompt_folded IS NOT NULL ORDER BY prompt_folded")
        ).all()
        filled = (
            "SELECT count(*) FROM agent_runners WHERE latest_session_agent = 'codex' AND changed_before > updated_at"
        )
        assert connection.scalar(sa.text(filled)) == 3
    assert found == ["grösse 0", "grösse 1", "grösse 2"]
    assert prompts == [("ändere 0", 1), ("ändere 1", 1), ("ändere 2", 1)]


@pytest.fixture
def postgres_url() -> Iterator[str]:
    with postgres_database() as url:
        yield url


def test_a_migration_that_waits_for_a_table_lets_requests_pass(postgres_url: str) -> None:
    command.upgrade(alembic_config(postgres_url), "0015")
    engine = db.make_engine(postgres_url)
    waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'sites'::regclass")
    with engine.connect() as reader, engine.connect() as other, ThreadPoolExecutor(1) as pool:
        reader.execute(sa.text("SELECT count(*) FROM sites"))
        migration = pool.submit(migrate, postgres_url)
        while not other.scalar(waits):
            assert not migration.done()
        other.execute(sa.text("SET statement_timeout = '10s'"))
        assert other.scalar(sa.text("SELECT count(*) FROM sites")) == 0, "it waits for the reader behind the migration"
        other.rollback()
        reader.rollback()
        assert migration.result() == ""
    assert "setup_cache_files" in {column["name"] for column in sa.inspect(engine).get_columns("sites")}
    engine.dispose()


def test_without_the_right_to_create_an_extension_titles_are_indexed_later(postgres_url: str) -> None:
    engine = db.make_engine(postgres_url)
    user = f"plain_{uuid.uuid4().hex}"
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {user} LOGIN"))
        connection.execute(sa.text(f"GRANT ALL ON SCHEMA public TO {user}"))
    try:
        url = sa.make_url(postgres_url).set(username=user).render_as_string(hide_password=False)
        note = migrate(url)
        assert 'permission denied to create extension "pg_trgm"' in note
        assert "CREATE EXTENSION pg_trgm" in note and "agent-runners migrate again" in note
        assert set(Base.metadata.tables) <= tables(engine)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE EXTENSION pg_trgm"))
        assert migrate(url) == ""
        assert TITLES in {index["name"] for index in sa.inspect(engine).get_indexes("agent_runners")}
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f"DROP OWNED BY {user} CASCADE"))
            connection.execute(sa.text(f"DROP ROLE {user}"))
        engine.dispose()
