"""Prompts that quote others

Revision ID: 0052
Revises: 0051
Create Date: 2026-11-28 21:40:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0052'
down_revision = '0051'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        'agent_runner_sessions', sa.Column('quotes_others', sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    op.drop_column('agent_runner_sessions', 'quotes_others')
