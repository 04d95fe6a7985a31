"""Rebases whose conflicts an agent resolves

Revision ID: 0055
Revises: 0054
Create Date: 2026-11-29 00:55:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0055'
down_revision = '0054'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('agent_runner_sessions', sa.Column('resolve', sa.String(20), nullable=True))


def downgrade() -> None:
    op.drop_column('agent_runner_sessions', 'resolve')
