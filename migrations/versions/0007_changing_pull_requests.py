"""Columns for updating pull requests and checking their state

Revision ID: 0007
Revises: 0006
Create Date: 2026-11-28 00:25:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('publications', sa.Column('draft_is_named', sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column('agent_runners', sa.Column('pr_checked_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('agent_runners', sa.Column('pr_check_due_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('agent_runners', sa.Column('pr_checks', sa.Integer(), server_default=sa.text('0'), nullable=False))
    op.create_index('ix_agent_runners_pr_state_pr_check_due_at', 'agent_runners', ['pr_state', 'pr_check_due_at'])


def downgrade() -> None:
    op.drop_index('ix_agent_runners_pr_state_pr_check_due_at', 'agent_runners')
    op.drop_column('agent_runners', 'pr_checks')
    op.drop_column('agent_runners', 'pr_check_due_at')
    op.drop_column('agent_runners', 'pr_checked_at')
    op.drop_column('publications', 'draft_is_named')
