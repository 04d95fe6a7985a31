"""Sparse checkouts of sites

Revision ID: 0064
Revises: 0063
Create Date: 2026-11-29 18:15:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0064'
down_revision = '0063'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('sites', sa.Column('sparse_paths', sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column('sites', 'sparse_paths')
