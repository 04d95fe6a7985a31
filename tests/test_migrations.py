"""The migrations make the tables that the models describe, on both databases, and can be taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app import db
from app.models import Base
from migrations.config import alembic_config, migrate
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


def test_models_and_migrations_agree(fresh_url: str, engine: sa.Engine) -> None:
    migrate(fresh_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_again_is_no_error(fresh_url: str, engine: sa.Engine) -> None:
    migrate(fresh_url)
    migrate(fresh_url)
    assert tables(engine) == set(Base.metadata.tables)


def test_every_migration_can_be_taken_back(fresh_url: str, engine: sa.Engine) -> None:
    migrate(fresh_url)
    command.downgrade(alembic_config(fresh_url), "base")
    assert tables(engine) == set()
    migrate(fresh_url)
    assert tables(engine) == set(Base.metadata.tables)


def test_one_session_of_a_runner_is_active_at_most_even_past_the_code(fresh_url: str, engine: sa.Engine) -> None:
    migrate(fresh_url)
    indexes = {index["name"]: index for index in sa.inspect(engine).get_indexes("agent_runner_sessions")}
    assert indexes["uq_agent_runner_sessions_active"]["unique"]
    with engine.connect() as connection:
        query = (
            "SELECT sql FROM sqlite_master WHERE name = 'uq_agent_runner_sessions_active'"
            if engine.dialect.name == "sqlite"
            else "SELECT indexdef FROM pg_indexes WHERE indexname = 'uq_agent_runner_sessions_active'"
        )
        assert "WHERE" in (connection.scalar(sa.text(query)) or "")
