"""What people have looked at, and when the worker of a stopped session ended

Revision ID: 0023
Revises: 0022
Create Date: 2026-11-28 15:00:00.000000
"""

import sqlalchemy as sa
from alembic import op

from app import db


revision = '0023'
down_revision = '0022'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'looks',
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('agent_runner_id', sa.Uuid(), nullable=False),
        sa.Column('digest', sa.String(length=64), nullable=False),
        sa.Column('at', db.Timestamp(), nullable=False),
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', db.Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_looks_user_id_users')),
        sa.ForeignKeyConstraint(
            ['agent_runner_id'], ['agent_runners.id'], name=op.f('fk_looks_agent_runner_id_agent_runners')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_looks')),
        sa.UniqueConstraint('user_id', 'agent_runner_id', 'digest', name=op.f('uq_looks_user_id_agent_runner_id_digest')),
    )
    op.add_column('agent_runner_sessions', sa.Column('attempt_ended_at', db.Timestamp(), nullable=True))


def downgrade() -> None:
    op.drop_column('agent_runner_sessions', 'attempt_ended_at')
    op.drop_table('looks')
