"""Longer names of forges

Revision ID: 0063
Revises: 0062
Create Date: 2026-11-29 18:00:00.000000
"""

import sqlalchemy as sa
from alembic import op


revision = '0063'
down_revision = '0062'
branch_labels = None
depends_on = None


def change(length: int) -> None:
    """Recreate the column on SQLite, which cannot alter it. The table cannot be recreated while rows refer to it."""
    if op.get_context().dialect.name == 'sqlite':
        op.execute('ALTER TABLE sites RENAME COLUMN forge TO old_forge')
        # A column that must not be null needs a default there. No row gets it.
        op.add_column('sites', sa.Column('forge', sa.String(length=length), nullable=False, server_default='none'))
        op.execute('UPDATE sites SET forge = old_forge')
        op.drop_column('sites', 'old_forge')
    else:
        op.alter_column('sites', 'forge', type_=sa.String(length=length), existing_type=sa.String(), existing_nullable=False)


def upgrade() -> None:
    change(40)


def downgrade() -> None:
    # The release before has no forge with a longer name. Its repositories are used through git alone then.
    op.execute("UPDATE sites SET forge = 'none' WHERE length(forge) > 20")
    change(20)
