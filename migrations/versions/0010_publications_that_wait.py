"""Which publications wait for another one of their site to end

Revision ID: 0010
Revises: 0009
Create Date: 2026-11-28 00:31:47.902215
"""

import sqlalchemy as sa
from alembic import op


revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The release before this one inserts publications without this column.
    op.add_column('publications', sa.Column('waits_for_site', sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column('publications', 'waits_for_site')
