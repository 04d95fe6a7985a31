"""An index for the runners whose refresh is due

Revision ID: 0033
Revises: 0032
Create Date: 2026-11-28 15:40:00.000000
"""

from alembic import op

from migrations.indexes import create_index


revision = '0033'
down_revision = '0032'
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index('ix_agent_runners_refresh_due_at', 'agent_runners', ['refresh_due_at'])


def downgrade() -> None:
    op.drop_index('ix_agent_runners_refresh_due_at', 'agent_runners')
