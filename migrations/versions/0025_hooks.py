"""Hooks by which other systems create runners

Revision ID: 0025
Revises: 0024
Create Date: 2026-11-28 14:40:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0025'
down_revision = '0024'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'agent_runner_hooks',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('account_id', sa.Uuid(), nullable=False),
        sa.Column('site_id', sa.Uuid(), nullable=False),
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('name', sa.String(length=200), nullable=False),
        sa.Column('active', sa.Boolean(), nullable=False),
        sa.Column('subject', sa.String(length=500), nullable=True),
        sa.Column('conditions', sa.JSON(), nullable=False),
        sa.Column('secret_encrypted', sa.Text(), nullable=False),
        sa.Column('prompt', sa.Text(), nullable=False),
        sa.Column('mode', sa.String(length=20), nullable=False),
        sa.Column('agent', sa.String(length=100), nullable=True),
        sa.Column('model', sa.String(length=200), nullable=True),
        sa.Column('effort', sa.String(length=50), nullable=True),
        sa.Column('branch', sa.String(length=255), nullable=True),
        sa.Column('limits', sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ['account_id'], ['accounts.id'], name=op.f('fk_agent_runner_hooks_account_id_accounts')
        ),
        sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_agent_runner_hooks_site_id_sites')),
        sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_agent_runner_hooks_user_id_users')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_agent_runner_hooks')),
    )
    op.create_index('ix_agent_runner_hooks_site', 'agent_runner_hooks', ['site_id', 'created_at', 'id'])
    op.create_table(
        'hook_deliveries',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('hook_id', sa.Uuid(), nullable=False),
        sa.Column('delivery_id', sa.String(length=200), nullable=True),
        sa.Column('state', sa.String(length=20), nullable=False),
        sa.Column('subject', sa.String(length=200), nullable=True),
        sa.Column('prompt', sa.Text(), nullable=True),
        sa.Column('agent_runner_id', sa.Uuid(), nullable=True),
        sa.Column('session_id', sa.Uuid(), nullable=True),
        sa.Column('error', sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ['hook_id'], ['agent_runner_hooks.id'], name=op.f('fk_hook_deliveries_hook_id_agent_runner_hooks')
        ),
        sa.ForeignKeyConstraint(
            ['agent_runner_id'], ['agent_runners.id'], name=op.f('fk_hook_deliveries_agent_runner_id_agent_runners')
        ),
        sa.ForeignKeyConstraint(
            ['session_id'],
            ['agent_runner_sessions.id'],
            name=op.f('fk_hook_deliveries_session_id_agent_runner_sessions'),
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_hook_deliveries')),
        sa.UniqueConstraint('hook_id', 'delivery_id', name=op.f('uq_hook_deliveries_hook_id_delivery_id')),
    )
    op.create_index('ix_hook_deliveries_listed', 'hook_deliveries', ['hook_id', 'created_at', 'id'])
    op.create_index('ix_hook_deliveries_subject', 'hook_deliveries', ['hook_id', 'subject', 'created_at'])
    op.create_index('ix_hook_deliveries_state', 'hook_deliveries', ['state', 'created_at'])


def downgrade() -> None:
    op.drop_table('hook_deliveries')
    op.drop_table('agent_runner_hooks')
