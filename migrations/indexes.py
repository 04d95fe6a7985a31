"""Creates indexes while the deployment is in use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from migrations.locks import limit_lock_waits, unlimited_lock_waits

LIFETIMES = "ix_agent_runners_lifetime"
"""An index of earlier releases."""
CHANGES = "ix_agent_runners_changes"
TITLES, PROMPTS = "ix_agent_runners_title_search", "ix_events_prompt_search"
ONLY_ON_POSTGRES = (CHANGES, TITLES, PROMPTS)
"""Indexes that the models do not describe."""


def create_index(name: str, table: str, columns: Sequence[str | sa.TextClause], **options: Any) -> None:
    """Create an index of that name unless it exists.

    Postgres builds it without keeping others from writing to the table. That is impossible in a transaction, so what
    the migration did before is committed. A build that was interrupted is repeated.
    """
    context = op.get_context()
    if context.dialect.name != "postgresql":
        op.create_index(name, table, [*columns], if_not_exists=True, **options)
        return
    with context.autocommit_block():
        unlimited_lock_waits(op.get_bind())
        drop_invalid(op.get_bind(), name)
        op.create_index(name, table, [*columns], if_not_exists=True, postgresql_concurrently=True, **options)
        limit_lock_waits(op.get_bind())


def drop_index(name: str, table: str) -> None:
    """Drop an index on Postgres, without keeping others from the table. What the migration did before is committed."""
    with op.get_context().autocommit_block():
        unlimited_lock_waits(op.get_bind())
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        limit_lock_waits(op.get_bind())


def drop_invalid(connection: sa.Connection, name: str) -> None:
    """Drop the index of that name if its build was interrupted: it is maintained, but not used."""
    invalid = sa.text("SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid")
    if connection.scalar(invalid, {"name": name}):
        connection.execute(sa.text(f"DROP INDEX CONCURRENTLY {name}"))
