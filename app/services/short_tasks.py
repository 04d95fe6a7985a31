"""Short work that a caller waits for. A control worker does it within two minutes, or else it has failed."""

from __future__ import annotations

import datetime
import uuid

import sqlalchemy as sa

from app import db
from app.errors import TooMany
from app.models import Site
from app.models.short_task import EXPIRES_SECONDS, ShortTask
from app.services import control_places

_KEPT_SECONDS = 7 * 86_400.0
LOST = "No control worker finished it within two minutes. Start one, or read its log, then request it again."


def refuse_many(model: type[ShortTask], account_id: uuid.UUID, most: int, *, error_code: str) -> None:
    """Raise `TooMany` if `most` rows of the account are in progress or waiting."""
    pending = sa.select(sa.func.count()).where(model.account_id == account_id, model.is_pending())
    if db.session.scalars(pending).one() >= most:
        message = f"{most} {model.__tablename__} of your account are in progress. Wait until one is done."
        raise TooMany(message, error_code=error_code, headers={"Retry-After": "5"})


def begin(row: ShortTask, site: Site | None = None) -> bool:
    """Claim a locked row, unless it was claimed before, there is no place for it now, or its site, if it has one, was
    deleted. Returns whether it is claimed."""
    if site is not None and site.deleted_at is not None:
        # Nobody sees it any more, and others do not wait for it.
        end(row)
        return False
    if row.claimed_at is not None or not control_places.has_room(row.account_id, is_slow=True):
        return False
    row.claimed_at = db.now()
    return True


def end(row: ShortTask) -> None:
    """End a row, and dispatch what has waited longest of what there is room for then."""
    row.done_at = db.now()
    control_places.dispatch_next()


def forget_old(model: type[ShortTask], account_id: uuid.UUID) -> None:
    """Delete the account's rows that are older than a week."""
    old = (model.account_id == account_id, model.created_at < db.now(-_KEPT_SECONDS))
    db.session.execute(sa.delete(model).where(*old))


def is_lost(row: ShortTask, now: datetime.datetime) -> bool:
    """Whether no worker was done with it in time. `now` is the database's time."""
    return row.done_at is None and now > row.created_at + datetime.timedelta(seconds=EXPIRES_SECONDS)
