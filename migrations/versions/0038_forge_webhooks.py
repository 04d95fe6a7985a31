"""Webhooks by which forges tell what happens to pull requests

Revision ID: 0038
Revises: 0037
Create Date: 2026-11-28 18:00:00.000000
"""

import sqlalchemy as sa
from alembic import op

from migrations.indexes import create_index


revision = '0038'
down_revision = '0037'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'forge_webhooks',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('account_id', sa.Uuid(), nullable=False),
        sa.Column('site_id', sa.Uuid(), nullable=False),
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('secret_encrypted', sa.Text(), nullable=False),
        sa.Column('archive_merged', sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_forge_webhooks_account_id_accounts')),
        sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_forge_webhooks_site_id_sites')),
        sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_forge_webhooks_user_id_users')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_forge_webhooks')),
        sa.UniqueConstraint('site_id', name=op.f('uq_forge_webhooks_site_id')),
    )
    op.create_table(
        'forge_deliveries',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('account_id', sa.Uuid(), nullable=False),
        sa.Column('webhook_id', sa.Uuid(), nullable=False),
        sa.Column('delivery_id', sa.String(length=200), nullable=False),
        sa.Column('event', sa.String(length=20), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('agent_runner_id', sa.Uuid(), nullable=False),
        sa.Column('state', sa.String(length=20), nullable=False),
        sa.Column('error', sa.Text(), nullable=True),
        sa.Column('attempt', sa.Integer(), nullable=False),
        sa.Column('workers_lost', sa.Integer(), nullable=False),
        sa.Column('lease_expires_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('next_dispatch_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('dispatches', sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_forge_deliveries_account_id_accounts')),
        sa.ForeignKeyConstraint(
            ['webhook_id'], ['forge_webhooks.id'], name=op.f('fk_forge_deliveries_webhook_id_forge_webhooks')
        ),
        sa.ForeignKeyConstraint(
            ['agent_runner_id'], ['agent_runners.id'], name=op.f('fk_forge_deliveries_agent_runner_id_agent_runners')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_forge_deliveries')),
        sa.UniqueConstraint('webhook_id', 'delivery_id', name=op.f('uq_forge_deliveries_webhook_id_delivery_id')),
    )
    op.create_index('ix_forge_deliveries_listed', 'forge_deliveries', ['webhook_id', 'created_at', 'id'])
    op.create_index('ix_forge_deliveries_due', 'forge_deliveries', ['state', 'next_dispatch_at'])
    create_index('ix_agent_runners_site_id_pr_number', 'agent_runners', ['site_id', 'pr_number'])


def downgrade() -> None:
    op.drop_index('ix_agent_runners_site_id_pr_number', 'agent_runners')
    op.drop_table('forge_deliveries')
    op.drop_table('forge_webhooks')
