"""Which part of the work a running session is at

Revision ID: 0011
Revises: 0010
Create Date: 2026-11-28 01:24:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('agent_runner_sessions', sa.Column('stage', sa.String(length=20), nullable=True))


def downgrade() -> None:
    op.drop_column('agent_runner_sessions', 'stage')
