"""Budgets of accounts and sites, and what was spent

Revision ID: 0031
Revises: 0030
Create Date: 2026-11-28 15:25:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0031'
down_revision = '0030'
branch_labels = None
depends_on = None

IS_OF_ACCOUNT, IS_OF_SITE = sa.text('site_id IS NULL'), sa.text('site_id IS NOT NULL')


def upgrade() -> None:
    op.create_table(
        'budgets',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('account_id', sa.Uuid(), nullable=False),
        sa.Column('site_id', sa.Uuid(), nullable=True),
        sa.Column('period', sa.String(length=20), nullable=False),
        sa.Column('max_cost_usd', sa.Float(), nullable=True),
        sa.Column('max_tokens', sa.BigInteger(), nullable=True),
        sa.Column('updated_by', sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_budgets_account_id_accounts')),
        sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_budgets_site_id_sites')),
        sa.ForeignKeyConstraint(['updated_by'], ['users.id'], name=op.f('fk_budgets_updated_by_users')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_budgets')),
    )
    op.create_index('ix_budgets_account_id', 'budgets', ['account_id'])
    of_account = {'sqlite_where': IS_OF_ACCOUNT, 'postgresql_where': IS_OF_ACCOUNT}
    op.create_index('ix_budgets_of_account', 'budgets', ['account_id', 'period'], unique=True, **of_account)
    of_site = {'sqlite_where': IS_OF_SITE, 'postgresql_where': IS_OF_SITE}
    op.create_index('ix_budgets_of_site', 'budgets', ['site_id', 'period'], unique=True, **of_site)
    op.create_table(
        'spendings',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('account_id', sa.Uuid(), nullable=False),
        sa.Column('site_id', sa.Uuid(), nullable=False),
        sa.Column('day', sa.Date(), nullable=False),
        sa.Column('cost_usd', sa.Float(), nullable=False),
        sa.Column('tokens', sa.BigInteger(), nullable=False),
        sa.Column('unpriced_tokens', sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_spendings_account_id_accounts')),
        sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_spendings_site_id_sites')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_spendings')),
        sa.UniqueConstraint('account_id', 'day', 'site_id', name=op.f('uq_spendings_account_id_day_site_id')),
    )


def downgrade() -> None:
    op.drop_table('spendings')
    op.drop_table('budgets')
