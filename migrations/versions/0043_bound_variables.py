"""Secrets that only one host gets

Revision ID: 0043
Revises: 0042
Create Date: 2026-11-28 18:25:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0043'
down_revision = '0042'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('variables', sa.Column('host', sa.String(length=255), nullable=True))
    op.add_column('variables', sa.Column('header', sa.String(length=200), nullable=True))


def downgrade() -> None:
    op.drop_column('variables', 'header')
    op.drop_column('variables', 'host')
