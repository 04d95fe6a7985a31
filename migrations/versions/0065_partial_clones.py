"""Partial clones of sites

Revision ID: 0065
Revises: 0064
Create Date: 2026-11-29 19:00:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0065'
down_revision = '0064'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('sites', sa.Column('partial_clone', sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column('sites', 'partial_clone')
