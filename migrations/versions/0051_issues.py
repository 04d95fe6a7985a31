"""Runners that issues start

Revision ID: 0051
Revises: 0050
Create Date: 2026-11-28 21:35:00.000000
"""

import sqlalchemy as sa
from alembic import op

from migrations.indexes import create_index


revision = '0051'
down_revision = '0050'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('forge_webhooks', sa.Column('issue_label', sa.String(length=100), nullable=True))
    op.add_column('forge_webhooks', sa.Column('allowed_people', sa.JSON(), nullable=True))
    op.add_column('agent_runners', sa.Column('issue_number', sa.Integer(), nullable=True))
    with op.batch_alter_table('forge_deliveries') as table:
        table.alter_column('agent_runner_id', existing_type=sa.Uuid(), nullable=True)
        table.add_column(
            sa.Column('answer_is_interim', sa.Boolean(), server_default=sa.false(), nullable=False)
        )
    create_index('ix_agent_runners_site_id_issue_number', 'agent_runners', ['site_id', 'issue_number'])


def downgrade() -> None:
    op.drop_index('ix_agent_runners_site_id_issue_number', 'agent_runners')
    op.execute('DELETE FROM forge_deliveries WHERE agent_runner_id IS NULL')
    with op.batch_alter_table('forge_deliveries') as table:
        table.drop_column('answer_is_interim')
        table.alter_column('agent_runner_id', existing_type=sa.Uuid(), nullable=False)
    op.drop_column('agent_runners', 'issue_number')
    op.drop_column('forge_webhooks', 'allowed_people')
    op.drop_column('forge_webhooks', 'issue_label')
