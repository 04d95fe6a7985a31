"""Indexes for every filter and order of the lists

Revision ID: 0012
Revises: 0011
Create Date: 2026-11-28 03:20:00.000000
"""

import sqlalchemy as sa
from alembic import op

from migrations.indexes import create_index


revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None

# Each continues with the order of the list, and covers what its other conditions read.
FILTERS = {
    'state': [],
    'branch': ['branch'],
    'result_branch': ['result_branch'],
    'user': ['user_id'],
    'site': ['site_id'],
}


def upgrade() -> None:
    for name, columns in FILTERS.items():
        order = ['state', 'last_session_created_at', 'id', 'site_id', 'created_at']
        covered = [column for column in order if column not in columns]
        create_index(f'ix_agent_runners_by_{name}', 'agent_runners', ['account_id', *columns, *covered])
    listed, deleted = sa.text('deleted_at IS NULL'), sa.text('deleted_at IS NOT NULL')
    create_index('ix_sites_listed', 'sites', ['account_id', 'created_at', 'id'], postgresql_where=listed, sqlite_where=listed)
    create_index('ix_sites_deleted', 'sites', ['account_id', 'id'], postgresql_where=deleted, sqlite_where=deleted)
    listed = sa.text('session_id IS NULL')
    create_index('ix_tokens_listed', 'tokens', ['user_id', 'created_at', 'id'], postgresql_where=listed, sqlite_where=listed)


def downgrade() -> None:
    op.drop_index('ix_tokens_listed', 'tokens')
    op.drop_index('ix_sites_deleted', 'sites')
    op.drop_index('ix_sites_listed', 'sites')
    for name in FILTERS:
        op.drop_index(f'ix_agent_runners_by_{name}', 'agent_runners')
