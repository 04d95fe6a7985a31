"""Tokens that are sessions of the console, which expire

Revision ID: 0017
Revises: 0016
Create Date: 2026-11-28 11:20:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0017'
down_revision = '0016'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The release before takes no console token: its digest is not that of its text.
    op.add_column('tokens', sa.Column('purpose', sa.String(20), nullable=False, server_default='api'))
    op.add_column('tokens', sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    # Without these columns, links and sessions would be listed as tokens, and never expire.
    op.execute("UPDATE tokens SET revoked_at = created_at WHERE purpose <> 'api' AND revoked_at IS NULL")
    op.drop_column('tokens', 'expires_at')
    op.drop_column('tokens', 'purpose')
