"""Every commit that a publication was about to push

Revision ID: 0003
Revises: 0002
Create Date: 2026-11-25 00:41:08.102774
"""

import sqlalchemy as sa
from alembic import op


revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

publications = sa.table(
    'publications', sa.column('id', sa.Uuid()), sa.column('pushed_sha', sa.String()), sa.column('planned_shas', sa.JSON())
)


def upgrade() -> None:
    op.add_column('publications', sa.Column('planned_shas', sa.JSON(), server_default='[]', nullable=False))
    found = op.get_bind().execute(sa.select(publications.c.id, publications.c.pushed_sha).where(publications.c.pushed_sha.isnot(None)))
    for number, sha in found.all():
        op.execute(publications.update().where(publications.c.id == number).values(planned_shas=[sha]))


def downgrade() -> None:
    op.drop_column('publications', 'planned_shas')
