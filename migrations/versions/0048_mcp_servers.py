"""MCP servers of sites

Revision ID: 0048
Revises: 0047
Create Date: 2026-11-28 19:00:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0048'
down_revision = '0047'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('sites', sa.Column('mcp_servers', sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column('sites', 'mcp_servers')
