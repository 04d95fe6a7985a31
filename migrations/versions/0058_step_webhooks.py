"""Webhooks that deliver steps

Revision ID: 0058
Revises: 0057
Create Date: 2026-11-29 01:20:00.000000
"""

import sqlalchemy as sa
from alembic import op

from migrations.indexes import create_index


revision = '0058'
down_revision = '0057'
branch_labels = None
depends_on = None

def upgrade() -> None:
    op.add_column('webhooks', sa.Column('steps_since', sa.DateTime(timezone=True), nullable=True))
    op.add_column('webhooks', sa.Column('full', sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column('webhook_deliveries', sa.Column('session_id', sa.Uuid(), nullable=True))
    op.add_column('webhook_deliveries', sa.Column('first_seq', sa.Integer(), nullable=True))
    op.add_column('webhook_deliveries', sa.Column('last_seq', sa.Integer(), nullable=True))
    create_index('ix_webhook_deliveries_steps', 'webhook_deliveries', ['webhook_id', 'session_id', 'last_seq'])


def downgrade() -> None:
    op.drop_index('ix_webhook_deliveries_steps', table_name='webhook_deliveries')
    op.drop_column('webhook_deliveries', 'last_seq')
    op.drop_column('webhook_deliveries', 'first_seq')
    op.drop_column('webhook_deliveries', 'session_id')
    op.drop_column('webhooks', 'full')
    op.drop_column('webhooks', 'steps_since')
