"""When a refresh of a runner was requested last

Revision ID: 0039
Revises: 0038
Create Date: 2026-11-28 18:30:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0039'
down_revision = '0038'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('agent_runners', sa.Column('refresh_requested_at', sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column('agent_runners', 'refresh_requested_at')
