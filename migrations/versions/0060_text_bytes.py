"""The size of what a session keeps in the database

Revision ID: 0060
Revises: 0059
Create Date: 2026-11-29 10:45:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0060'
down_revision = '0059'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Sessions from before count as empty: to read all their texts would take long.
    op.add_column('agent_runner_sessions', sa.Column('text_bytes', sa.BigInteger(), server_default='0', nullable=False))


def downgrade() -> None:
    op.drop_column('agent_runner_sessions', 'text_bytes')
