"""A token names the token that it was made with, and is revoked with it

Revision ID: 0015
Revises: 0014
Create Date: 2026-11-28 08:00:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('tokens', sa.Column('created_with', sa.Uuid(), nullable=True))


def downgrade() -> None:
    op.drop_column('tokens', 'created_with')
