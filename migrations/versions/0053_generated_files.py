"""Patterns of generated files

Revision ID: 0053
Revises: 0052
Create Date: 2026-11-28 21:50:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0053'
down_revision = '0052'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('site_branches', sa.Column('generated', sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column('site_branches', 'generated')
