"""The token that claimed an attempt: revoking it also revokes the attempt's session token

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-25 05:06:42.310447
"""

import sqlalchemy as sa
from alembic import op


revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('tokens', sa.Column('claimed_with', sa.Uuid(), nullable=True))


def downgrade() -> None:
    op.drop_column('tokens', 'claimed_with')
