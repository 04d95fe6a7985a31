"""Fills new columns of large tables while the deployment is in use."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

ROWS = 1000
Fill = Callable[[sa.Connection, uuid.UUID], uuid.UUID | None]
"""Fills the rows after an id, `ROWS` of them, and returns the last id, or None at the end."""


def fill_in_batches(fill: Fill) -> None:
    """Call `fill` until all rows are filled. It may be called again for rows that were filled already.

    On Postgres each batch is a transaction of its own, so that nobody waits long for its rows. What the migration did
    before is committed.
    """
    context = op.get_context()
    if context.dialect.name != "postgresql":
        _fill(lambda last: fill(op.get_bind(), last))
        return
    with context.autocommit_block():
        engine = op.get_bind().engine

        def committed(last: uuid.UUID) -> uuid.UUID | None:
            with engine.begin() as connection:
                return fill(connection, last)

        _fill(committed)


def _fill(fill: Callable[[uuid.UUID], uuid.UUID | None]) -> None:
    last: uuid.UUID | None = uuid.UUID(int=0)
    while last is not None:
        last = fill(last)
