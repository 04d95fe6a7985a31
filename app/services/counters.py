"""Counts of what has happened in the deployment, for its metrics."""

from __future__ import annotations

import sqlalchemy as sa
import structlog

from app import db
from app.models import Counter

log = structlog.get_logger()


def count(name: str, times: int = 1) -> None:
    """Count `times` more of what `name` says has happened, once the transaction in progress has been committed.

    A counter is a row that many write to, so nobody waits for it while holding others: it has a transaction of its own.
    What a process that dies in between does not count is no harm.
    """
    db.after_commit(lambda: _add(name, times))


def _add(name: str, times: int) -> None:
    try:
        with db.transaction():
            insert = db.insert(Counter).values(name=name, value=times)
            more = {"value": Counter.value + times}
            db.session.execute(insert.on_conflict_do_update(index_elements=[Counter.name], set_=more))
    except sa.exc.SQLAlchemyError as error:
        log.warning("not_counted", counter=name, error=type(error).__name__)
