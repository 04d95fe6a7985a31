"""Commit statuses of sites

Revision ID: 0062
Revises: 0061
Create Date: 2026-11-29 13:40:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0062'
down_revision = '0061'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('sites', sa.Column('pr_status', sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column('sites', 'pr_status')
