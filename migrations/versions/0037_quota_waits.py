"""Sessions that wait for the quota of their model

Revision ID: 0037
Revises: 0036
Create Date: 2026-11-28 18:00:00.000000
"""

import sqlalchemy as sa
from alembic import op

from app import db


revision = '0037'
down_revision = '0036'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('sites', sa.Column('on_quota', sa.String(length=20), server_default='fail', nullable=False))
    op.add_column('agent_runner_sessions', sa.Column('waiting_until', db.Timestamp(), nullable=True))
    op.add_column('agent_runner_sessions', sa.Column('waiting_since', db.Timestamp(), nullable=True))


def downgrade() -> None:
    op.drop_column('agent_runner_sessions', 'waiting_since')
    op.drop_column('agent_runner_sessions', 'waiting_until')
    op.drop_column('sites', 'on_quota')
