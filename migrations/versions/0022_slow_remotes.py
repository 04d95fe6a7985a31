"""Remotes that were slow: repositories that did not answer, and publications that took long

Revision ID: 0022
Revises: 0021
Create Date: 2026-11-28 14:25:00.000000
"""

import sqlalchemy as sa
from alembic import op

from app import db


revision = '0022'
down_revision = '0021'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('sites', sa.Column('fetch_failed_at', db.Timestamp(), nullable=True))
    op.add_column('publications', sa.Column('claimed_at', db.Timestamp(), nullable=True))
    op.add_column('publications', sa.Column('slow_until', db.Timestamp(), nullable=True))
    was_slow = sa.text('slow_until IS NOT NULL')
    op.create_index('ix_publications_slow', 'publications', ['slow_until'], sqlite_where=was_slow, postgresql_where=was_slow)


def downgrade() -> None:
    op.drop_index('ix_publications_slow', table_name='publications')
    op.drop_column('publications', 'slow_until')
    op.drop_column('publications', 'claimed_at')
    op.drop_column('sites', 'fetch_failed_at')
