"""What each host has found of the agents, for GET /agents

Revision ID: 0020
Revises: 0019
Create Date: 2026-11-28 12:05:00.000000
"""

import sqlalchemy as sa
from alembic import op

from app import db


revision = '0020'
down_revision = '0019'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'host_agents',
        sa.Column('host', sa.String(length=255), nullable=False),
        sa.Column('name', sa.String(length=100), nullable=False),
        sa.Column('version', sa.String(length=100), nullable=True),
        sa.Column('missing', sa.Text(), nullable=True),
        sa.Column('has_key', sa.Boolean(), nullable=True),
        sa.Column('reported_at', db.Timestamp(), nullable=False),
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('created_at', db.Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_host_agents')),
        sa.UniqueConstraint('host', 'name', name=op.f('uq_host_agents_host_name')),
    )


def downgrade() -> None:
    op.drop_table('host_agents')
