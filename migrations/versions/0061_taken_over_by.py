"""The agent that took over a session

Revision ID: 0061
Revises: 0060
Create Date: 2026-11-29 13:10:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0061'
down_revision = '0060'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('agent_runner_sessions', sa.Column('taken_over_by', sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column('agent_runner_sessions', 'taken_over_by')
