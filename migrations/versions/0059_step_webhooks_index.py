"""An index for how far steps were delivered

Revision ID: 0059
Revises: 0058
Create Date: 2026-11-29 02:25:00.000000
"""

from alembic import op

from migrations.indexes import create_index


revision = '0059'
down_revision = '0058'
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index('ix_webhook_deliveries_steps', 'webhook_deliveries', ['webhook_id', 'session_id', 'last_seq'])


def downgrade() -> None:
    op.drop_index('ix_webhook_deliveries_steps', table_name='webhook_deliveries')
