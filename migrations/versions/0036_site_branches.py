"""The branches of a site's repository

Revision ID: 0036
Revises: 0035
Create Date: 2026-11-28 18:10:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0036'
down_revision = '0035'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'site_branches',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('site_id', sa.Uuid(), nullable=False),
        sa.Column('names', sa.JSON(), nullable=False),
        sa.Column('listed_at', sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_site_branches_site_id_sites')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_site_branches')),
        sa.UniqueConstraint('site_id', name=op.f('uq_site_branches_site_id')),
    )


def downgrade() -> None:
    op.drop_table('site_branches')
