"""An index for the newest sessions of an account

Revision ID: 0029
Revises: 0028
Create Date: 2026-11-28 15:20:00.000000
"""

from alembic import op

from migrations.indexes import create_index


revision = '0029'
down_revision = '0028'
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index('ix_agent_runner_sessions_newest', 'agent_runner_sessions', ['account_id', 'created_at'])


def downgrade() -> None:
    op.drop_index('ix_agent_runner_sessions_newest', 'agent_runner_sessions')
