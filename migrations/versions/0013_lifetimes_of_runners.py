"""An index for runners that existed at a time, on Postgres

Revision ID: 0013
Revises: 0012
Create Date: 2026-11-28 04:15:00.000000
"""

import sqlalchemy as sa
from alembic import op

from migrations.indexes import LIFETIMES, create_index


revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None

# A clock that was set back may have put the session before its runner.
LIFETIME = sa.text('tstzrange(created_at, greatest(created_at, last_session_created_at))')


def upgrade() -> None:
    if op.get_context().dialect.name == 'postgresql':
        create_index(LIFETIMES, 'agent_runners', [LIFETIME], postgresql_using='gist')


def downgrade() -> None:
    if op.get_context().dialect.name == 'postgresql':
        op.drop_index(LIFETIMES, 'agent_runners')
