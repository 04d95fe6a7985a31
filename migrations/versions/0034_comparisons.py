"""Diffs between the work of two sessions

Revision ID: 0034
Revises: 0033
Create Date: 2026-11-28 18:00:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0034'
down_revision = '0033'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'comparisons',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('account_id', sa.Uuid(), nullable=False),
        sa.Column('agent_runner_id', sa.Uuid(), nullable=False),
        sa.Column('from_session_id', sa.Uuid(), nullable=True),
        sa.Column('to_session_id', sa.Uuid(), nullable=False),
        sa.Column('diff_key', sa.String(length=1000), nullable=True),
        sa.Column('failure', sa.JSON(), nullable=True),
        sa.Column('claimed_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('done_at', sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_comparisons_account_id_accounts')),
        sa.ForeignKeyConstraint(
            ['agent_runner_id'], ['agent_runners.id'], name=op.f('fk_comparisons_agent_runner_id_agent_runners')
        ),
        sa.ForeignKeyConstraint(
            ['from_session_id'],
            ['agent_runner_sessions.id'],
            name=op.f('fk_comparisons_from_session_id_agent_runner_sessions'),
        ),
        sa.ForeignKeyConstraint(
            ['to_session_id'],
            ['agent_runner_sessions.id'],
            name=op.f('fk_comparisons_to_session_id_agent_runner_sessions'),
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_comparisons')),
    )
    op.create_index('ix_comparisons_account', 'comparisons', ['account_id', 'created_at'])
    op.create_index('ix_comparisons_agent_runner_id', 'comparisons', ['agent_runner_id'])


def downgrade() -> None:
    op.drop_table('comparisons')
