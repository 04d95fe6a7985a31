"""The forge's checks of pull requests

Revision ID: 0057
Revises: 0056
Create Date: 2026-11-29 01:10:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0057'
down_revision = '0056'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('agent_runners', sa.Column('pr_check_results', sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column('agent_runners', 'pr_check_results')
