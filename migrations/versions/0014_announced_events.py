"""Events are announced, and those of an account can be read in order

Revision ID: 0014
Revises: 0013
Create Date: 2026-11-28 03:15:00.000000
"""

import sqlalchemy as sa
from alembic import op

from migrations.indexes import create_index


revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None

IS_CHANGE = sa.text("kind IN ('state', 'publication')")
# Names the runners of new events on a channel, and the accounts whose lists they change. It costs a session nothing in
# statements, and also announces what a process of the release before this one records.
FUNCTION = """
CREATE OR REPLACE FUNCTION announce_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('agent_runner_events', keys.key::text) FROM (
        SELECT agent_runner_id AS key FROM added
        UNION
        SELECT runner.account_id FROM added JOIN agent_runners AS runner ON runner.id = added.agent_runner_id
        WHERE added.kind IN ('state', 'publication')
    ) AS keys;
    RETURN NULL;
END
$$
"""
TRIGGER = """
CREATE OR REPLACE TRIGGER announce_events AFTER INSERT ON events REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION announce_events()
"""


def upgrade() -> None:
    create_index(
        'ix_events_changes', 'events', ['created_at', 'id'], sqlite_where=IS_CHANGE, postgresql_where=IS_CHANGE
    )
    if op.get_bind().dialect.name == 'postgresql':
        op.execute(FUNCTION)
        op.execute(TRIGGER)


def downgrade() -> None:
    if op.get_bind().dialect.name == 'postgresql':
        op.execute('DROP TRIGGER announce_events ON events')
        op.execute('DROP FUNCTION announce_events')
    op.drop_index('ix_events_changes', 'events')
