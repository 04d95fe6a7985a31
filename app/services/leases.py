"""Leases: a row is dispatched until a worker claims it, held by an attempt, fenced, and released or lost.

The rules are the same for all `Leased` rows: sessions and publications. The database's clock decides. `attempt` is the
fence: each write of a worker carries its attempt, and an attempt that no longer holds the row cannot change it. The
rows passed to these functions are locked, unless a docstring says otherwise.
"""

from __future__ import annotations

import datetime
import functools
import uuid
from typing import Any

import sqlalchemy as sa

from app import db, queue
from app.config import settings
from app.errors import Conflict
from app.models.leased import Leased
from app.services import counters

MAX_REDISPATCH_SECONDS = 600.0


class LeaseLost(Conflict):
    """Another attempt may own the row: kill what was started and publish nothing."""

    error_code = "lease_lost"


class Cancelled(Conflict):
    """The session was stopped: kill the agent and keep its work."""

    error_code = "session_cancelled"


def redispatch_wait(dispatches: int) -> float:
    """Seconds until a row that was dispatched `dispatches` times is dispatched again."""
    # After some weeks the count exceeds a thousand, and two to the power of that is too large for a float.
    return min(settings().redispatch_seconds * 2.0 ** min(dispatches, 30), MAX_REDISPATCH_SECONDS)


def dispatch(row: Leased, task: str, now: datetime.datetime | None = None) -> None:
    """Enqueue a waiting row for the workers after the commit. The sweep does so again if no worker claims it.

    `now` is the time by the database's clock, if it is known already.
    """
    wait = redispatch_wait(row.dispatches)
    row.dispatches += 1
    row.next_dispatch_at = db.now(wait) if now is None else now + datetime.timedelta(seconds=wait)
    row_id = str(row.id)
    db.after_commit(lambda: queue.send(task, row_id, expires=wait))


def begin(row: Leased) -> None:
    """Start the next attempt, which holds the row for `lease_seconds` from now."""
    row.attempt += 1
    row.dispatches = 0
    row.next_dispatch_at = None
    row.lease_expires_at = db.now(settings().lease_seconds)


def beat(model: type[Leased], row_id: uuid.UUID, attempt: int) -> None:
    """Extend the lease; raises `LeaseLost` or `Cancelled` if the attempt no longer holds the row.

    This is one fenced UPDATE on a row that need not be locked: the most frequent write must not wait for other locks.
    """
    extend = sa.update(model).where(held_by(model, row_id, attempt))
    extend = extend.values(lease_expires_at=db.now(settings().lease_seconds))
    held = db.session.scalar(extend.returning(model.id).execution_options(synchronize_session=False))
    if held is None:
        raise refusal(db.session.get(model, row_id), attempt)


def held_by(model: type[Leased], row_id: Any, attempt: Any) -> sa.ColumnElement[bool]:
    """Selects the row if that attempt holds it, as `is_held` does: the fence of an UPDATE. Takes values or parameters."""
    mine = sa.and_(model.id == row_id, model.attempt == attempt)
    return sa.and_(mine, model.state == model.HELD, model.lease_expires_at.is_not(None))


def is_held(row: Leased, attempt: int) -> bool:
    """Whether that attempt holds the row. An expired lease still counts until the sweep or a claim ends it."""
    return row.attempt == attempt and row.state == row.HELD and row.lease_expires_at is not None


def check_held(row: Leased | None, attempt: int) -> None:
    """Raise `LeaseLost` or `Cancelled` if the attempt no longer holds the row."""
    if row is None or not is_held(row, attempt):
        raise refusal(row, attempt)


def refusal(row: Leased | None, attempt: int) -> LeaseLost | Cancelled:
    """Why an attempt does not hold the row."""
    if row is not None and row.attempt == attempt and row.was_stopped:
        return Cancelled("A caller stopped the session. Stop the work.")
    return LeaseLost(f"Attempt {attempt} no longer holds the lease: it expired or was released. Stop the work.")


def release(row: Leased, *, dispatch_in: float | None = None) -> None:
    """End the lease. The sweep dispatches the row after `dispatch_in` seconds; None: it does not."""
    row.lease_expires_at = None
    row.next_dispatch_at = None if dispatch_in is None else db.now(dispatch_in)


def lose_worker(row: Leased) -> bool:
    """End the lease of a lost worker, and count it. True: too many workers were lost, so the row must fail."""
    row.workers_lost += 1
    counters.count("workers_lost")
    release(row)
    return row.workers_lost >= settings().max_workers_lost


def has_expired(row: Leased) -> bool:
    """Whether an attempt holds the row with an expired lease."""
    return row.state == row.HELD and _has_passed(row, row.lease_expires_at)


def is_live(row: Leased) -> bool:
    """Whether an attempt holds the row with a lease that has not expired."""
    return row.state == row.HELD and row.lease_expires_at is not None and not _has_passed(row, row.lease_expires_at)


def is_due(row: Leased) -> bool:
    """Whether the row is waiting and due to be dispatched."""
    return row.state == row.WAITING and _has_passed(row, row.next_dispatch_at)


def _has_passed(row: Leased, moment: datetime.datetime | None) -> bool:
    assert row.locked_at is not None
    return moment is not None and moment < row.locked_at


def live(model: type[Leased]) -> sa.ColumnElement[bool]:
    """Selects rows that an attempt holds with a lease that has not expired."""
    return sa.and_(model.state == model.HELD, model.lease_expires_at > db.now())


def dispatched(model: type[Leased]) -> sa.ColumnElement[bool]:
    """Selects rows that were dispatched, and that no worker has claimed since then."""
    return sa.and_(model.state == model.WAITING, model.lease_expires_at.is_(None), model.dispatches > 0)


def expired(model: type[Leased], seconds: float = 0.0) -> sa.ColumnElement[bool]:
    """Selects rows whose lease expired at least `seconds` ago."""
    return sa.and_(model.state == model.HELD, model.lease_expires_at < db.now(-seconds))


def find_expired(model: type[Leased], most: int) -> list[uuid.UUID]:
    """The ids of rows whose lease has expired, the earliest first. The rows are not locked."""
    return list(db.session.scalars(_expired_first(model).limit(most)))


def find_due(model: type[Leased], most: int) -> list[uuid.UUID]:
    """The ids of waiting rows that are due to be dispatched, the earliest first. The rows are not locked.

    In this order no row waits behind many others that are dispatched again and again.
    """
    return list(db.session.scalars(_due_first(model).limit(most)))


# Each sweep asks for all of them, and to make such a statement takes longer than to run it.
@functools.cache
def _expired_first(model: type[Leased]) -> sa.Select[uuid.UUID]:
    return sa.select(model.id).where(expired(model)).order_by(model.lease_expires_at)


@functools.cache
def _due_first(model: type[Leased]) -> sa.Select[uuid.UUID]:
    due = sa.and_(model.state == model.WAITING, model.next_dispatch_at < db.now())
    return sa.select(model.id).where(due).order_by(model.next_dispatch_at)
