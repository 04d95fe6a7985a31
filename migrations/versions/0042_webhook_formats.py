"""Webhooks that send messages for people

Revision ID: 0042
Revises: 0041
Create Date: 2026-11-28 18:30:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0042'
down_revision = '0041'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('webhooks', sa.Column('format', sa.String(length=20), server_default='json', nullable=False))
    op.add_column('webhooks', sa.Column('url_encrypted', sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column('webhooks', 'url_encrypted')
    op.drop_column('webhooks', 'format')
