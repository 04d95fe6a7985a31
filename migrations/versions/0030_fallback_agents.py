"""The agents of a site that go on where the quota of the one before is used up

Revision ID: 0030
Revises: 0029
Create Date: 2026-11-28 15:20:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0030'
down_revision = '0029'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('sites', sa.Column('fallback_agents', sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column('sites', 'fallback_agents')
