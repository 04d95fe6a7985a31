"""Columns and tables with standard names: dispatches, last runs

Nothing has been released yet, so these are plain renames, and code of the revision before does not work with them. From
the first release on a rename takes two releases. The times of last runs are not kept: the tasks run again soon.

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-28 00:10:21.551204
"""

import sqlalchemy as sa
from alembic import op


revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

NAMES = {'next_bell_at': 'next_dispatch_at', 'bells': 'dispatches'}
SCHEDULED_BY = ['state', 'account_id', 'site_id', 'created_at', 'id']


def rename_columns(names: dict[str, str]) -> None:
    # SQLite and Postgres keep the indexes. A batch would recreate the tables, which is impossible while rows refer to them.
    for table in ('agent_runner_sessions', 'publications'):
        for old, new in names.items():
            op.execute(f'ALTER TABLE {table} RENAME COLUMN {old} TO {new}')


def create_times(table: str) -> None:
    op.create_table(table,
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f(f'pk_{table}')),
    sa.UniqueConstraint('name', name=op.f(f'uq_{table}_name'))
    )


def upgrade() -> None:
    rename_columns(NAMES)
    op.drop_index('ix_agent_runner_sessions_turn', 'agent_runner_sessions')
    op.create_index('ix_agent_runner_sessions_scheduling', 'agent_runner_sessions', SCHEDULED_BY)
    op.drop_table('marks')
    create_times('last_runs')


def downgrade() -> None:
    op.drop_table('last_runs')
    create_times('marks')
    op.drop_index('ix_agent_runner_sessions_scheduling', 'agent_runner_sessions')
    op.create_index('ix_agent_runner_sessions_turn', 'agent_runner_sessions', SCHEDULED_BY)
    rename_columns({new: old for old, new in NAMES.items()})
