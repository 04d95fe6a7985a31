"""What agents remember of their sessions, for follow-ups

Revision ID: 0027
Revises: 0026
Create Date: 2026-11-28 14:30:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0027'
down_revision = '0026'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('agent_runner_sessions', sa.Column('continues_session_id', sa.Uuid(), nullable=True))
    op.add_column('agent_runner_sessions', sa.Column('native_session_id', sa.String(length=100), nullable=True))
    op.add_column('agent_runner_sessions', sa.Column('agent_version', sa.String(length=100), nullable=True))
    op.add_column('agent_runner_sessions', sa.Column('conversation_key', sa.String(length=1000), nullable=True))


def downgrade() -> None:
    for name in ('conversation_key', 'agent_version', 'native_session_id', 'continues_session_id'):
        op.drop_column('agent_runner_sessions', name)
