"""Whether a site refuses changes of sensitive files

Revision ID: 0035
Revises: 0034
Create Date: 2026-11-28 18:10:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0035'
down_revision = '0034'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('sites', sa.Column('sensitive_files', sa.String(length=20), nullable=False, server_default='warn'))


def downgrade() -> None:
    op.drop_column('sites', 'sensitive_files')
