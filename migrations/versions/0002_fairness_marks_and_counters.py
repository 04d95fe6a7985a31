"""Fairness between accounts, times of the last runs, and counters

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-24 20:37:51.347276
"""

import sqlalchemy as sa
from alembic import op


revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('counters',
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('value', sa.BigInteger(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_counters')),
    sa.UniqueConstraint('name', name=op.f('uq_counters_name'))
    )
    op.create_table('marks',
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_marks')),
    sa.UniqueConstraint('name', name=op.f('uq_marks_name'))
    )
    # Plain ALTERs: on SQLite a batch would recreate both tables, which is impossible while other rows refer to them.
    op.add_column('accounts', sa.Column('last_claimed_at', sa.DateTime(timezone=True), nullable=True))
    # The release before this one inserts runners and sites without these columns.
    op.add_column('agent_runners', sa.Column('contains_secret', sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column('sites', sa.Column('allow_agent_configuration', sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index('ix_agent_runner_sessions_turn', 'agent_runner_sessions', ['state', 'account_id', 'site_id', 'created_at', 'id'])
    op.add_column('publications', sa.Column('workers_lost', sa.Integer(), server_default=sa.text('0'), nullable=False))


def downgrade() -> None:
    op.drop_column('publications', 'workers_lost')
    op.drop_index('ix_agent_runner_sessions_turn', 'agent_runner_sessions')
    op.drop_column('sites', 'allow_agent_configuration')
    op.drop_column('agent_runners', 'contains_secret')
    op.drop_column('accounts', 'last_claimed_at')
    op.drop_table('marks')
    op.drop_table('counters')
