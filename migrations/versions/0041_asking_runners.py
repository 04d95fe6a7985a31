"""An index for the runners that wait for an answer

Revision ID: 0041
Revises: 0040
Create Date: 2026-11-28 18:00:00.000000
"""

import sqlalchemy as sa
from alembic import op

from migrations.indexes import create_index


revision = '0041'
down_revision = '0040'
branch_labels = None
depends_on = None


def upgrade() -> None:
    asks = sa.text("questions IS NOT NULL AND state = 'DONE'")
    columns = ['account_id', 'last_session_created_at', 'id']
    create_index('ix_agent_runners_asking', 'agent_runners', columns, sqlite_where=asks, postgresql_where=asks)


def downgrade() -> None:
    op.drop_index('ix_agent_runners_asking', 'agent_runners')
