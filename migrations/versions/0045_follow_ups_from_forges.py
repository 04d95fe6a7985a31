"""Follow-ups that people ask for on the forge

Revision ID: 0045
Revises: 0044
Create Date: 2026-11-28 18:25:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0045'
down_revision = '0044'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        'forge_webhooks',
        sa.Column('trigger_name', sa.String(length=100), server_default='@agent-runners', nullable=False),
    )
    with op.batch_alter_table('forge_deliveries') as table:
        table.add_column(sa.Column('subject_id', sa.BigInteger(), nullable=True))
        table.add_column(sa.Column('author', sa.String(length=200), nullable=True))
        table.add_column(sa.Column('prompt', sa.Text(), nullable=True))
        table.add_column(sa.Column('answer', sa.Text(), nullable=True))
        table.add_column(sa.Column('session_id', sa.Uuid(), nullable=True))
        table.add_column(sa.Column('publication_id', sa.Uuid(), nullable=True))
        table.create_foreign_key(
            op.f('fk_forge_deliveries_session_id_agent_runner_sessions'),
            'agent_runner_sessions',
            ['session_id'],
            ['id'],
        )
        table.create_foreign_key(
            op.f('fk_forge_deliveries_publication_id_publications'), 'publications', ['publication_id'], ['id']
        )
        table.create_index('uq_forge_deliveries_subject', ['webhook_id', 'event', 'subject_id'], unique=True)


def downgrade() -> None:
    with op.batch_alter_table('forge_deliveries') as table:
        table.drop_index('uq_forge_deliveries_subject')
        table.drop_constraint(op.f('fk_forge_deliveries_publication_id_publications'), type_='foreignkey')
        table.drop_constraint(op.f('fk_forge_deliveries_session_id_agent_runner_sessions'), type_='foreignkey')
        for name in ('publication_id', 'session_id', 'answer', 'prompt', 'author', 'subject_id'):
            table.drop_column(name)
    op.drop_column('forge_webhooks', 'trigger_name')
