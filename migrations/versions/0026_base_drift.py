"""How far the branch of a runner has moved since its base

Revision ID: 0026
Revises: 0025
Create Date: 2026-11-28 15:10:00.000000
"""

import sqlalchemy as sa
from alembic import op

from app import db


revision = '0026'
down_revision = '0025'
branch_labels = None
depends_on = None

COLUMNS = {
    'mergeable': sa.Boolean(),
    'conflicts': sa.JSON(),
    'refresh_due_at': db.Timestamp(),
    'refreshed_at': db.Timestamp(),
    'refresh_error': sa.Text(),
}


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        op.add_column('agent_runners', sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column('agent_runners', name)
