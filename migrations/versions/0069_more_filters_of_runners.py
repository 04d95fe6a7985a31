"""Runners are found by agent, parent, pull request, time of change and prompts

Revision ID: 0069
Revises: 0068
Create Date: 2026-11-30 01:20:00.000000
"""

import datetime

import sqlalchemy as sa
from alembic import op

from app.folding import PROMPT_CHARACTERS, folded_words
from migrations.batches import ROWS, fill_in_batches
from migrations.indexes import CHANGES, LIFETIMES, create_index, drop_index


revision = '0069'
down_revision = '0068'
branch_labels = None
depends_on = None

COLUMNS = {
    'agent_runners': {'latest_session_agent': sa.String(length=100), 'changed_before': sa.DateTime(timezone=True)},
    'events': {'prompt_folded': sa.Text()},
}
ORDER = ['state', 'last_session_created_at', 'id', 'site_id', 'created_at']
HAS_PARENT, HAS_PR = sa.text('parent_agent_runner_id IS NOT NULL'), sa.text('pr_state IS NOT NULL')
HAS_PROMPT = sa.text('prompt_folded IS NOT NULL')
# A runner that was changed by the release before this one may have no time, and then counts as changed at any.
LIFETIME = sa.text("tstzrange(created_at, greatest(created_at, coalesce(changed_before, 'infinity')))")
OLD_LIFETIME = sa.text('tstzrange(created_at, greatest(created_at, last_session_created_at))')

RUNNERS = sa.table(
    'agent_runners',
    sa.column('id', sa.Uuid()),
    sa.column('updated_at', sa.DateTime(timezone=True)),
    sa.column('latest_session_id', sa.Uuid()),
    *(sa.column(name, kind) for name, kind in COLUMNS['agent_runners'].items()),
)
SESSIONS = sa.table(
    'agent_runner_sessions',
    sa.column('id', sa.Uuid()),
    sa.column('prompt', sa.Text()),
    sa.column('agent', sa.String()),
    sa.column('taken_over_by', sa.JSON()),
)
EVENTS = sa.table(
    'events',
    *(sa.column(name, sa.Uuid()) for name in ('id', 'session_id')),
    *(sa.column(name) for name in ('kind', 'attempt', 'seq')),
    *(sa.column(name, kind) for name, kind in COLUMNS['events'].items()),
)


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        known = {column['name'] for column in sa.inspect(op.get_bind()).get_columns(table)}
        for name, kind in columns.items():
            # A build of an index that fails later has the migration begin again.
            if name not in known:
                op.add_column(table, sa.Column(name, kind, nullable=True))
    fill_in_batches(fill_runners)
    fill_in_batches(fill_prompts)
    list_by('agent', 'latest_session_agent')
    list_by('parent', 'parent_agent_runner_id', postgresql_where=HAS_PARENT, sqlite_where=HAS_PARENT)
    list_by('pr_state', 'pr_state', postgresql_where=HAS_PR, sqlite_where=HAS_PR)
    create_index(
        'ix_events_prompts', 'events', ['agent_runner_id'], postgresql_where=HAS_PROMPT, sqlite_where=HAS_PROMPT
    )
    if op.get_context().dialect.name == 'postgresql':
        create_index(CHANGES, 'agent_runners', [LIFETIME], postgresql_using='gist')
        drop_index(LIFETIMES, 'agent_runners')


def list_by(name, column, **options):
    covered = ['account_id', column, *ORDER]
    create_index(f'ix_agent_runners_by_{name}', 'agent_runners', covered, **options)


def fill_runners(connection, last):
    runner, session = RUNNERS.c, SESSIONS.c
    query = (
        sa.select(runner.id, runner.updated_at, session.agent, session.taken_over_by)
        .select_from(RUNNERS.outerjoin(SESSIONS, session.id == runner.latest_session_id))
        .where(runner.id > last)
        .order_by(runner.id)
        .limit(ROWS)
    )
    rows = connection.execute(query).all()
    # A process of this release may have changed the row since it was read, and knows better.
    update = sa.update(RUNNERS).where(runner.id == sa.bindparam('runner'), runner.changed_before.is_(None))
    update = update.values(latest_session_agent=sa.bindparam('agent'), changed_before=sa.bindparam('before'))
    hour = datetime.timedelta(hours=1)
    values = [
        {
            'runner': row.id,
            'agent': (row.taken_over_by or {}).get('agent') or row.agent,
            'before': row.updated_at + hour,
        }
        for row in rows
    ]
    if values:
        connection.execute(update, values)
    return rows[-1].id if rows else None


def fill_prompts(connection, last):
    session, event = SESSIONS.c, EVENTS.c
    first = (
        sa.select(event.id)
        .where(event.session_id == session.id, event.kind == 'state')
        .order_by(event.attempt, event.seq)
        .limit(1)
        .scalar_subquery()
    )
    prompt = sa.func.substr(session.prompt, 1, PROMPT_CHARACTERS)
    query = sa.select(session.id, prompt.label('prompt'), first.label('event'))
    rows = connection.execute(query.where(session.id > last).order_by(session.id).limit(ROWS)).all()
    update = sa.update(EVENTS).where(event.id == sa.bindparam('first')).values(prompt_folded=sa.bindparam('text'))
    values = [{'first': row.event, 'text': folded_words(row.prompt)} for row in rows if row.event is not None]
    if values:
        connection.execute(update, values)
    return rows[-1].id if rows else None


def downgrade() -> None:
    if op.get_context().dialect.name == 'postgresql':
        create_index(LIFETIMES, 'agent_runners', [OLD_LIFETIME], postgresql_using='gist')
        drop_index(CHANGES, 'agent_runners')
    op.drop_index('ix_events_prompts', 'events')
    for name in ('pr_state', 'parent', 'agent'):
        op.drop_index(f'ix_agent_runners_by_{name}', 'agent_runners')
    for table, columns in COLUMNS.items():
        for name in columns:
            op.drop_column(table, name)
