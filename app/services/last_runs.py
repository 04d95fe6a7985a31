"""When something was last done in the deployment, by the database's clock."""

from __future__ import annotations

import sqlalchemy as sa

from app import db
from app.models import Mark

SWEEP, GARBAGE = "sweep", "garbage"


def put(name: str) -> None:
    """What `name` says was done now."""
    db.session.execute(_upsert(name))


def take(name: str, every_seconds: float) -> bool:
    """Whether it is time again for what `name` says. Of several that ask at once one is told so, and is to do it."""
    is_due = Mark.at < db.now(-every_seconds)
    return db.session.scalar(_upsert(name, where=is_due).returning(Mark.id)) is not None


def age(name: str) -> float | None:
    """Seconds since it was last done; None if it never was."""
    times = db.session.execute(sa.select(Mark.at, db.now()).where(Mark.name == name)).one_or_none()
    return (times[1] - times[0]).total_seconds() if times else None


def _upsert(name: str, where: sa.ColumnElement[bool] | None = None) -> sa.Insert:
    insert: sa.Insert = (
        db.insert(Mark)
        .values(name=name, at=db.now())
        .on_conflict_do_update(index_elements=[Mark.name], set_={"at": db.now()}, where=where)
    )
    return insert
