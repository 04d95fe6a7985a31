"""Counters of what happens in the deployment, for its metrics."""

from __future__ import annotations

import collections
from collections.abc import Mapping

import sqlalchemy as sa
import structlog

from app import db
from app.models import Counter

log = structlog.get_logger()


def count(name: str, times: int = 1) -> None:
    """Add `times` to the counter `name` once the transaction in progress is committed.

    Many write to the row of a counter, so all counts of a transaction are written in another one after it: no one waits
    for that while holding other locks. A process that dies in between loses the counts, which does no harm.
    """
    counts = db.session.info.setdefault("counts", collections.Counter())
    if not counts:
        db.after_commit(lambda: _commit(counts))
    counts[name] += times


def add(counts: Mapping[str, int]) -> None:
    """Add to counters in the transaction in progress, which locks their rows until it ends."""
    # In a fixed order, in which two processes cannot wait for each other.
    rows = [{"name": name, "value": times} for name, times in sorted(counts.items())]
    insert = db.insert(Counter)
    more = {"value": Counter.value + insert.excluded.value}
    db.session.execute(insert.on_conflict_do_update(index_elements=[Counter.name], set_=more), rows)


def _commit(counts: Mapping[str, int]) -> None:
    try:
        with db.transaction():
            add(counts)
    except sa.exc.SQLAlchemyError as error:
        log.warning("count_failed", counters=sorted(counts), error=type(error).__name__)
