"""Whether a session has warned of a budget

Revision ID: 0032
Revises: 0031
Create Date: 2026-11-28 15:40:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0032'
down_revision = '0031'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('budgets', sa.Column('warned_of', sa.Date(), nullable=True))


def downgrade() -> None:
    op.drop_column('budgets', 'warned_of')
