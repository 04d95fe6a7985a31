"""Counters of what happens in the deployment, for its metrics."""

from __future__ import annotations

import sqlalchemy as sa
import structlog

from app import db
from app.models import Counter

log = structlog.get_logger()


def count(name: str, times: int = 1) -> None:
    """Add `times` to the counter `name` once the transaction in progress is committed.

    Many write to the row of a counter, so it has a transaction of its own: nobody waits for it while holding other
    locks. A process that dies in between loses the count, which does no harm.
    """
    db.after_commit(lambda: _add(name, times))


def _add(name: str, times: int) -> None:
    try:
        with db.transaction():
            insert = db.insert(Counter).values(name=name, value=times)
            more = {"value": Counter.value + times}
            db.session.execute(insert.on_conflict_do_update(index_elements=[Counter.name], set_=more))
    except sa.exc.SQLAlchemyError as error:
        log.warning("count_failed", counter=name, error=type(error).__name__)
