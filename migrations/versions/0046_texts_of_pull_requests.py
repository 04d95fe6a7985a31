"""A site's templates for the branches, titles and descriptions of pull requests

Revision ID: 0046
Revises: 0045
Create Date: 2026-11-28 18:50:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0046'
down_revision = '0045'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('sites', sa.Column('pr_branch_pattern', sa.String(length=255), nullable=True))
    op.add_column('sites', sa.Column('pr_title_template', sa.String(length=500), nullable=True))
    op.add_column('sites', sa.Column('pr_body_template', sa.Text(), nullable=True))


def downgrade() -> None:
    for name in ('pr_branch_pattern', 'pr_title_template', 'pr_body_template'):
        op.drop_column('sites', name)
