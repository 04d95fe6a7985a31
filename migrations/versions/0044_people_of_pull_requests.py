"""Labels, reviewers and assignees of pull requests

Revision ID: 0044
Revises: 0043
Create Date: 2026-11-28 18:40:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0044'
down_revision = '0043'
branch_labels = None
depends_on = None

COLUMNS = {
    'publications': ('labels', 'reviewers', 'assignees'),
    'sites': ('pr_labels', 'pr_reviewers', 'pr_assignees'),
    'agent_runners': ('pr_warnings',),
}


def upgrade() -> None:
    for table, names in COLUMNS.items():
        for name in names:
            op.add_column(table, sa.Column(name, sa.JSON(), nullable=True))


def downgrade() -> None:
    for table, names in COLUMNS.items():
        for name in names:
            op.drop_column(table, name)
