"""Artifacts that are to be deleted

Revision ID: 0068
Revises: 0066
Create Date: 2026-11-30 01:30:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0068'
down_revision = '0066'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'artifact_deletions',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('key', sa.String(length=1000), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_artifact_deletions')),
    )


def downgrade() -> None:
    op.drop_table('artifact_deletions')
