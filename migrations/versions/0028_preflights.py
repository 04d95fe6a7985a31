"""Checks of what a session of a site would need

Revision ID: 0028
Revises: 0027
Create Date: 2026-11-28 15:05:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0028'
down_revision = '0027'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'preflights',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('account_id', sa.Uuid(), nullable=False),
        sa.Column('site_id', sa.Uuid(), nullable=False),
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('agent', sa.String(length=100), nullable=True),
        sa.Column('branch', sa.String(length=255), nullable=True),
        sa.Column('checks', sa.JSON(), nullable=False),
        sa.Column('claimed_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('done_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('setup_session_id', sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_preflights_account_id_accounts')),
        sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_preflights_site_id_sites')),
        sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_preflights_user_id_users')),
        sa.ForeignKeyConstraint(
            ['setup_session_id'],
            ['agent_runner_sessions.id'],
            name=op.f('fk_preflights_setup_session_id_agent_runner_sessions'),
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_preflights')),
    )
    op.create_index('ix_preflights_account', 'preflights', ['account_id', 'created_at'])
    op.create_index('ix_preflights_site_id', 'preflights', ['site_id'])


def downgrade() -> None:
    op.drop_table('preflights')
