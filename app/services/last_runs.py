"""When periodic tasks last ran, by the database's clock."""

from __future__ import annotations

import sqlalchemy as sa

from app import db
from app.models import LastRun

SWEEP, GARBAGE, PULL_REQUESTS, FORGETTING = "sweep", "garbage", "pull_requests", "forgetting"


def record(name: str) -> None:
    """Record that `name` has run now."""
    db.session.execute(_upsert(name))


def start_if_due(name: str, every_seconds: float) -> bool:
    """Whether `name` is due; if so, record that it runs now. Of several concurrent calls, one returns True."""
    is_due = LastRun.at < db.now(-every_seconds)
    return db.session.scalar(_upsert(name, where=is_due).returning(LastRun.id)) is not None


def age(name: str) -> float | None:
    """Seconds since `name` last ran; None if it never did."""
    times = db.session.execute(sa.select(LastRun.at, db.now()).where(LastRun.name == name)).one_or_none()
    return (times[1] - times[0]).total_seconds() if times else None


def _upsert(name: str, where: sa.ColumnElement[bool] | None = None) -> sa.Insert:
    insert: sa.Insert = (
        db.insert(LastRun)
        .values(name=name, at=db.now())
        .on_conflict_do_update(index_elements=[LastRun.name], set_={"at": db.now()}, where=where)
    )
    return insert
