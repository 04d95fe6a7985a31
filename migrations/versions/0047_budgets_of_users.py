"""Budgets of users and schedules

Revision ID: 0047
Revises: 0046
Create Date: 2026-11-28 18:50:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0047'
down_revision = '0046'
branch_labels = None
depends_on = None

# Until now budgets were of the account where they had no site.
WITHOUT_SITE = sa.text('site_id IS NULL')
OF_ACCOUNT = sa.text('site_id IS NULL AND user_id IS NULL AND schedule_id IS NULL')
OF_USER, OF_SCHEDULE = sa.text('user_id IS NOT NULL'), sa.text('schedule_id IS NOT NULL')


def upgrade() -> None:
    for table in ('agent_runners', 'agent_runner_sessions', 'budgets'):
        op.add_column(table, sa.Column('schedule_id', sa.Uuid(), nullable=True))
    op.add_column('budgets', sa.Column('user_id', sa.Uuid(), nullable=True))
    op.drop_index('ix_budgets_of_account', 'budgets')
    _create_index('ix_budgets_of_account', ['account_id', 'period'], OF_ACCOUNT)
    _create_index('ix_budgets_of_user', ['account_id', 'user_id', 'period'], OF_USER)
    _create_index('ix_budgets_of_schedule', ['schedule_id', 'period'], OF_SCHEDULE)
    op.create_table(
        'subject_spendings',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('account_id', sa.Uuid(), nullable=False),
        sa.Column('subject_id', sa.Uuid(), nullable=False),
        sa.Column('day', sa.Date(), nullable=False),
        sa.Column('cost_usd', sa.Float(), nullable=False),
        sa.Column('tokens', sa.BigInteger(), nullable=False),
        sa.Column('unpriced_tokens', sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_subject_spendings_account_id_accounts')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_subject_spendings')),
        sa.UniqueConstraint(
            'account_id', 'day', 'subject_id', name=op.f('uq_subject_spendings_account_id_day_subject_id')
        ),
    )


def downgrade() -> None:
    op.drop_table('subject_spendings')
    for name in ('ix_budgets_of_schedule', 'ix_budgets_of_user', 'ix_budgets_of_account'):
        op.drop_index(name, 'budgets')
    op.execute('DELETE FROM budgets WHERE user_id IS NOT NULL OR schedule_id IS NOT NULL')
    _create_index('ix_budgets_of_account', ['account_id', 'period'], WITHOUT_SITE)
    op.drop_column('budgets', 'user_id')
    for table in ('budgets', 'agent_runner_sessions', 'agent_runners'):
        op.drop_column(table, 'schedule_id')


def _create_index(name: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, 'budgets', columns, unique=True, sqlite_where=where, postgresql_where=where)
