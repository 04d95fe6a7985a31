"""Variables of sites and accounts, and the audit trail

Revision ID: 0024
Revises: 0023
Create Date: 2026-11-28 14:40:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0024'
down_revision = '0023'
branch_labels = None
depends_on = None

IS_OF_ACCOUNT, IS_OF_SITE = sa.text('site_id IS NULL'), sa.text('site_id IS NOT NULL')


def upgrade() -> None:
    op.create_table(
        'variables',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('account_id', sa.Uuid(), nullable=False),
        sa.Column('site_id', sa.Uuid(), nullable=True),
        sa.Column('name', sa.String(length=200), nullable=False),
        sa.Column('value_encrypted', sa.Text(), nullable=False),
        sa.Column('secret', sa.Boolean(), nullable=False),
        sa.Column('stage', sa.String(length=20), nullable=False),
        sa.Column('fingerprint', sa.String(length=16), nullable=False),
        sa.Column('version', sa.Integer(), nullable=False),
        sa.Column('updated_by', sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_variables_account_id_accounts')),
        sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_variables_site_id_sites')),
        sa.ForeignKeyConstraint(['updated_by'], ['users.id'], name=op.f('fk_variables_updated_by_users')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_variables')),
    )
    of_account = {'sqlite_where': IS_OF_ACCOUNT, 'postgresql_where': IS_OF_ACCOUNT}
    op.create_index('ix_variables_of_account', 'variables', ['account_id', 'name'], unique=True, **of_account)
    of_site = {'sqlite_where': IS_OF_SITE, 'postgresql_where': IS_OF_SITE}
    op.create_index('ix_variables_of_site', 'variables', ['site_id', 'name'], unique=True, **of_site)
    op.create_table(
        'audit_events',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('account_id', sa.Uuid(), nullable=False),
        sa.Column('site_id', sa.Uuid(), nullable=True),
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('token_id', sa.Uuid(), nullable=False),
        sa.Column('action', sa.String(length=50), nullable=False),
        sa.Column('subject', sa.String(length=200), nullable=False),
        sa.Column('details', sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_audit_events_account_id_accounts')),
        sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_audit_events_site_id_sites')),
        sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_audit_events_user_id_users')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_events')),
    )
    op.create_index('ix_audit_events_listed', 'audit_events', ['account_id', 'created_at', 'id'])


def downgrade() -> None:
    op.drop_table('audit_events')
    op.drop_table('variables')
