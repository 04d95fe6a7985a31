"""How much each account stores

Revision ID: 0018
Revises: 0017
Create Date: 2026-11-28 11:50:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0018'
down_revision = '0017'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('accounts', sa.Column('stored_bytes', sa.BigInteger(), nullable=False, server_default='0'))


def downgrade() -> None:
    op.drop_column('accounts', 'stored_bytes')
