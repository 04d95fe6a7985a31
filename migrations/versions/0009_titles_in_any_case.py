"""Titles of runners in a form for case-insensitive search

Revision ID: 0009
Revises: 0008
Create Date: 2026-11-28 00:33:10.114208
"""

import sqlalchemy as sa
from alembic import op

from app.folding import folded


revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

BATCH = 1000


def upgrade() -> None:
    # Null if the release before this one wrote the row. The database then folds the title when it is searched.
    op.add_column('agent_runners', sa.Column('title_folded', sa.Text(), nullable=True))
    runners = sa.table('agent_runners', sa.column('id', sa.Uuid()), sa.column('title'), sa.column('title_folded'))
    connection = op.get_bind()
    unfolded = sa.select(runners.c.id, runners.c.title).where(runners.c.title_folded.is_(None)).limit(BATCH)
    update = sa.update(runners).where(runners.c.id == sa.bindparam('runner')).values(title_folded=sa.bindparam('text'))
    while rows := connection.execute(unfolded).all():
        connection.execute(update, [{'runner': row.id, 'text': folded(row.title)} for row in rows])


def downgrade() -> None:
    op.drop_column('agent_runners', 'title_folded')
