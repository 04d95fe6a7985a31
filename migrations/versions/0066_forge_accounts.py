"""People's own accounts on forges

Revision ID: 0066
Revises: 0065
Create Date: 2026-11-29 19:00:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0066'
down_revision = '0065'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'forge_accounts',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('account_id', sa.Uuid(), nullable=False),
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('forge', sa.String(length=40), nullable=False),
        sa.Column('forge_api_url', sa.String(length=500), nullable=False),
        sa.Column('token_encrypted', sa.Text(), nullable=True),
        sa.Column('state', sa.String(length=20), nullable=False),
        sa.Column('login', sa.String(length=200), nullable=True),
        sa.Column('name', sa.String(length=200), nullable=True),
        sa.Column('email', sa.String(length=320), nullable=True),
        sa.Column('failure', sa.JSON(), nullable=True),
        sa.Column('claimed_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('done_at', sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_forge_accounts_account_id_accounts')),
        sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_forge_accounts_user_id_users')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_forge_accounts')),
        sa.UniqueConstraint(
            'user_id', 'forge', 'forge_api_url', name=op.f('uq_forge_accounts_user_id_forge_forge_api_url')
        ),
    )
    op.create_index('ix_forge_accounts_account', 'forge_accounts', ['account_id', 'created_at'])


def downgrade() -> None:
    op.drop_table('forge_accounts')
