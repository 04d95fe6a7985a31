"""When something was last done in the deployment, by the database's clock."""

from __future__ import annotations

import sqlalchemy as sa

from app import db
from app.models import LastRun

SWEEP, GARBAGE, PULL_REQUESTS = "sweep", "garbage", "pull_requests"


def put(name: str) -> None:
    """Record that `name` has run now."""
    db.session.execute(_upsert(name))


def take(name: str, every_seconds: float) -> bool:
    """Whether `name` is due, and if so record that it runs now. Of several that ask at once, one gets True."""
    is_due = LastRun.at < db.now(-every_seconds)
    return db.session.scalar(_upsert(name, where=is_due).returning(LastRun.id)) is not None


def age(name: str) -> float | None:
    """Seconds since it was last done; None if it never was."""
    times = db.session.execute(sa.select(LastRun.at, db.now()).where(LastRun.name == name)).one_or_none()
    return (times[1] - times[0]).total_seconds() if times else None


def _upsert(name: str, where: sa.ColumnElement[bool] | None = None) -> sa.Insert:
    insert: sa.Insert = (
        db.insert(LastRun)
        .values(name=name, at=db.now())
        .on_conflict_do_update(index_elements=[LastRun.name], set_={"at": db.now()}, where=where)
    )
    return insert
