"""Follow-ups for failed checks

Revision ID: 0050
Revises: 0049
Create Date: 2026-11-28 21:10:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0050'
down_revision = '0049'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        'forge_webhooks', sa.Column('on_failed_checks', sa.String(length=20), server_default='off', nullable=False)
    )
    op.add_column('forge_webhooks', sa.Column('max_fixes', sa.Integer(), server_default='3', nullable=False))
    op.add_column('forge_deliveries', sa.Column('commit_sha', sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column('forge_deliveries', 'commit_sha')
    op.drop_column('forge_webhooks', 'max_fixes')
    op.drop_column('forge_webhooks', 'on_failed_checks')
