"""Roles of members, and last use of tokens

Revision ID: 0054
Revises: 0053
Create Date: 2026-11-28 21:20:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0054'
down_revision = '0053'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Until now each user had all rights.
    op.add_column('users', sa.Column('role', sa.String(20), server_default='admin', nullable=False))
    op.add_column('users', sa.Column('disabled_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('tokens', sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column('tokens', 'last_used_at')
    op.drop_column('users', 'disabled_at')
    op.drop_column('users', 'role')
