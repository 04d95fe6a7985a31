"""Warnings of budgets are events of the account

Revision ID: 0049
Revises: 0048
Create Date: 2026-11-28 21:20:00.000000
"""

import sqlalchemy as sa
from alembic import op

from migrations.indexes import create_index


revision = '0049'
down_revision = '0048'
branch_labels = None
depends_on = None

BEFORE, AFTER = "'state', 'publication'", "'state', 'publication', 'budget'"
FUNCTION = """
CREATE OR REPLACE FUNCTION announce_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('agent_runner_events', keys.key::text) FROM (
        SELECT agent_runner_id AS key FROM added
        UNION
        SELECT runner.account_id FROM added JOIN agent_runners AS runner ON runner.id = added.agent_runner_id
        WHERE added.kind IN (%s)
    ) AS keys;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    _replace('ix_events_account', 'ix_events_changes', AFTER)


def downgrade() -> None:
    _replace('ix_events_changes', 'ix_events_account', BEFORE)


def _replace(new: str, old: str, kinds: str) -> None:
    """Create the new index before the old one is dropped, so that streams can use one of them all the time."""
    where = sa.text(f"kind IN ({kinds})")
    create_index(new, 'events', ['created_at', 'id'], sqlite_where=where, postgresql_where=where)
    op.drop_index(old, 'events')
    if op.get_bind().dialect.name == 'postgresql':
        op.execute(FUNCTION % kinds)
