"""The branch of a site or a runner may be null until a session has fetched the repository

Code of the revision before still works with sites and runners that have a branch. It fails sessions without one.

Revision ID: 0008
Revises: 0007
Create Date: 2026-11-28 00:15:12.104388
"""

import sqlalchemy as sa
from alembic import op


revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None

COLUMNS = {'sites': 'default_branch', 'agent_runners': 'branch'}


def change(table: str, column: str, **allowing) -> None:
    """Recreate the column on SQLite, which cannot alter it. The table cannot be recreated while rows refer to it."""
    if op.get_context().dialect.name == 'sqlite':
        op.execute(f'ALTER TABLE {table} RENAME COLUMN {column} TO old_{column}')
        op.add_column(table, sa.Column(column, sa.String(length=255), **allowing))
        op.execute(f'UPDATE {table} SET {column} = old_{column}')
        op.drop_column(table, f'old_{column}')
    else:
        op.alter_column(table, column, existing_type=sa.String(length=255), **allowing)


def upgrade() -> None:
    for table, column in COLUMNS.items():
        change(table, column, nullable=True)


def downgrade() -> None:
    for table, column in COLUMNS.items():
        op.execute(f"UPDATE {table} SET {column} = 'main' WHERE {column} IS NULL")
        change(table, column, nullable=False, server_default='main')
