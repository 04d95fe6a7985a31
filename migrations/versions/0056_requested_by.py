"""Who asked on the forge for a session

Revision ID: 0056
Revises: 0055
Create Date: 2026-11-29 01:25:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0056'
down_revision = '0055'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('agent_runner_sessions', sa.Column('requested_by', sa.String(200), nullable=True))


def downgrade() -> None:
    op.drop_column('agent_runner_sessions', 'requested_by')
