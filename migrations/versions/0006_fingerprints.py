"""The fingerprint of the deployment's secret key, so that a process with another key notices

Revision ID: 0006
Revises: 0005
Create Date: 2026-11-28 00:12:40.118420
"""

import sqlalchemy as sa
from alembic import op


revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('fingerprints',
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('value', sa.String(length=100), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_fingerprints')),
    sa.UniqueConstraint('name', name=op.f('uq_fingerprints_name'))
    )


def downgrade() -> None:
    op.drop_table('fingerprints')
