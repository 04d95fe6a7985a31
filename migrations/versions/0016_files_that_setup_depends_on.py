"""The files that what a site's setup command leaves depends on

Revision ID: 0016
Revises: 0015
Create Date: 2026-11-28 07:45:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0016'
down_revision = '0015'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('sites', sa.Column('setup_cache_files', sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column('sites', 'setup_cache_files')
