"""Questions of agents, which wait for an answer

Revision ID: 0040
Revises: 0039
Create Date: 2026-11-28 18:00:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0040'
down_revision = '0039'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('agent_runners', sa.Column('questions', sa.JSON(), nullable=True))
    op.add_column('agent_runner_sessions', sa.Column('questions', sa.JSON(), nullable=True))
    may_ask = sa.Column('may_ask', sa.Boolean(), server_default=sa.true(), nullable=False)
    op.add_column('agent_runner_sessions', may_ask)


def downgrade() -> None:
    op.drop_column('agent_runner_sessions', 'may_ask')
    op.drop_column('agent_runner_sessions', 'questions')
    op.drop_column('agent_runners', 'questions')
