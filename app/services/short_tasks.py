"""Short work that a caller waits for. A control worker does it within two minutes, or else it has failed."""

from __future__ import annotations

import datetime
import itertools
import uuid
from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from app import db, queue
from app.errors import TooMany
from app.models import Comparison, Preflight, Site
from app.models.short_task import ShortTask

EXPIRES_SECONDS = 120.0
"""The time that workers have for it."""
MOST_AT_ONCE = 2
"""Of all accounts, each of which has one at most: slow repositories leave workers to what others publish."""
_TASKS: Mapping[type[ShortTask], str] = {Comparison: queue.COMPARE_SESSIONS, Preflight: queue.RUN_PREFLIGHT}
_KEPT_SECONDS = 7 * 86_400.0
LOST = "No control worker was done with it within two minutes. Start one, or see its log, and request it again."


def refuse_many(model: type[ShortTask], account_id: uuid.UUID, most: int, *, error_code: str) -> None:
    """Raise `TooMany` if `most` rows of the account are in progress or waiting."""
    pending = sa.select(sa.func.count()).where(model.account_id == account_id, *_is_pending(model))
    if db.session.scalars(pending).one() >= most:
        message = f"{most} {model.__tablename__} of your account are in progress. Wait until one is done."
        raise TooMany(message, error_code=error_code, headers={"Retry-After": "5"})


def dispatch(row: ShortTask) -> None:
    """Enqueue a row for the workers after the commit."""
    task, row_id = _TASKS[type(row)], str(row.id)
    db.after_commit(lambda: queue.send(task, row_id, expires=EXPIRES_SECONDS))


def begin(row: ShortTask, site: Site) -> bool:
    """Claim a locked row, unless it was claimed before, there is no room for it now, or its site was deleted. Returns
    whether it is claimed."""
    if site.deleted_at is not None:
        # Nobody sees it any more, and others do not wait for it.
        end(row)
        return False
    held = _held_by()
    if row.claimed_at is not None or row.account_id in held or len(held) >= MOST_AT_ONCE:
        return False
    row.claimed_at = db.now()
    return True


def end(row: ShortTask) -> None:
    """End a row, and dispatch what has waited longest of what there is room for then."""
    row.done_at = db.now()
    db.session.flush()
    held = _held_by()
    waiting = [each for model in _TASKS for each in _first_waiting(model, held)]
    if waiting:
        dispatch(min(waiting, key=lambda each: each.created_at))


def _held_by() -> list[uuid.UUID]:
    """The accounts whose rows workers hold."""
    held = (sa.select(model.account_id).where(*_is_pending(model), model.claimed_at.is_not(None)) for model in _TASKS)
    return list(itertools.chain.from_iterable(map(db.session.scalars, held)))


def _first_waiting(model: type[ShortTask], held: list[uuid.UUID]) -> Sequence[ShortTask]:
    waiting = sa.select(model).where(*_is_pending(model), model.claimed_at.is_(None), model.account_id.not_in(held))
    return db.session.scalars(waiting.order_by(model.created_at).limit(1)).all()


def _is_pending(model: type[ShortTask]) -> Iterator[sa.ColumnElement[bool]]:
    yield from (model.done_at.is_(None), model.created_at > db.now(-EXPIRES_SECONDS))


def forget_old(model: type[ShortTask], account_id: uuid.UUID) -> None:
    """Delete the account's rows that are older than a week."""
    old = (model.account_id == account_id, model.created_at < db.now(-_KEPT_SECONDS))
    db.session.execute(sa.delete(model).where(*old))


def is_lost(row: ShortTask, now: datetime.datetime) -> bool:
    """Whether no worker was done with it in time. `now` is the database's time."""
    return row.done_at is None and now > row.created_at + datetime.timedelta(seconds=EXPIRES_SECONDS)
