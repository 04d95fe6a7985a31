"""Runs the migrations on the database in the settings, or on the URL that the caller set in the configuration."""

import sqlalchemy as sa
from alembic import context

from app import db
from app.config import settings
from app.models import Base
from migrations.indexes import ONLY_ON_POSTGRES
from migrations.locks import limit_lock_waits


def plain_type(kind, item, _context):
    """Write our own column types as plain ones: a migration must not change when the code does."""
    if kind == "type" and isinstance(item, sa.types.TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


def run() -> None:
    url = context.config.get_main_option("sqlalchemy.url") or settings().database
    engine = db.make_engine(url)
    try:
        with engine.connect() as connection:
            upgrade(connection)
    finally:
        # A migration that could not get a lock is tried again, with connections of its own.
        engine.dispose()


def upgrade(connection: sa.Connection) -> None:
    limit_lock_waits(connection)
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite cannot alter most things in place; Alembic then copies the table.
        render_as_batch=connection.dialect.name == "sqlite",
        render_item=plain_type,
        include_object=lambda _item, name, *_: name not in ONLY_ON_POSTGRES,
        # A migration that creates indexes concurrently commits what was done before.
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
