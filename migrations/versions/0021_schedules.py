"""Schedules of sites

Revision ID: 0021
Revises: 0020
Create Date: 2026-11-28 14:30:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0021'
down_revision = '0020'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'schedules',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('account_id', sa.Uuid(), nullable=False),
        sa.Column('site_id', sa.Uuid(), nullable=False),
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('name', sa.String(length=200), nullable=False),
        sa.Column('cron', sa.String(length=200), nullable=False),
        sa.Column('timezone', sa.String(length=100), nullable=False),
        sa.Column('overlap', sa.String(length=20), nullable=False),
        sa.Column('active', sa.Boolean(), nullable=False),
        sa.Column('prompt', sa.Text(), nullable=False),
        sa.Column('mode', sa.String(length=20), nullable=False),
        sa.Column('agent', sa.String(length=100), nullable=True),
        sa.Column('model', sa.String(length=200), nullable=True),
        sa.Column('effort', sa.String(length=50), nullable=True),
        sa.Column('branch', sa.String(length=255), nullable=True),
        sa.Column('limits', sa.JSON(), nullable=True),
        sa.Column('next_run_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('last_run_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('last_runner_id', sa.Uuid(), nullable=True),
        sa.Column('last_error', sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_schedules_account_id_accounts')),
        sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_schedules_site_id_sites')),
        sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_schedules_user_id_users')),
        sa.ForeignKeyConstraint(
            ['last_runner_id'], ['agent_runners.id'], name=op.f('fk_schedules_last_runner_id_agent_runners')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_schedules')),
    )
    op.create_index('ix_schedules_site', 'schedules', ['site_id', 'created_at', 'id'])
    op.create_index('ix_schedules_due', 'schedules', ['next_run_at'])


def downgrade() -> None:
    op.drop_table('schedules')
