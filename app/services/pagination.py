"""Pages of a list: by number, with a total, or by cursor, at a constant cost."""

from __future__ import annotations

import base64
import datetime
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from app import db
from app.errors import invalid

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list. `total` is None when paging by cursor. `next_cursor` is None at the end of the list."""

    items: list[T]
    number: int
    per_page: int
    total: int | None
    next_cursor: str | None


def by_number(query: sa.Select[T], keys: Sequence[Any], number: int, per_page: int) -> Page[T]:
    """Page `number`, from 1, of a query that is ordered by the columns `keys`."""
    total = db.session.scalar(sa.select(sa.func.count()).select_from(query.order_by(None).subquery())) or 0
    items = list(db.session.scalars(query.limit(per_page).offset((number - 1) * per_page)))
    more = number * per_page < total
    return Page(items, number, per_page, total, cursor_of(items[-1], keys) if items and more else None)


def by_cursor(query: sa.Select[T], keys: Sequence[Any], cursor: str, per_page: int, *, descending: bool) -> Page[T]:
    """The rows after `cursor`. The query is ordered by `keys`, all in one direction, and the last of them is unique."""
    row, values = sa.tuple_(*keys), sa.tuple_(*_values_of(cursor))
    items = list(db.session.scalars(query.where(row < values if descending else row > values).limit(per_page + 1)))
    more, items = len(items) > per_page, items[:per_page]
    return Page(items, 1, per_page, None, cursor_of(items[-1], keys) if more else None)


def cursor_of(item: Any, keys: Sequence[Any]) -> str:
    moment, id_ = (getattr(item, key.key) for key in keys)
    return base64.urlsafe_b64encode(json.dumps([moment.isoformat(), id_.hex]).encode()).decode().rstrip("=")


def _values_of(cursor: str) -> tuple[Any, Any]:
    try:
        moment, id_ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return (
            sa.literal(datetime.datetime.fromisoformat(moment).astimezone(datetime.UTC), db.Timestamp()),
            sa.literal(uuid.UUID(hex=id_), sa.Uuid()),
        )
    except (ValueError, TypeError, OverflowError, AttributeError):
        raise invalid(
            "cursor", "is not a cursor of this list; take it from the Link header", error_code="bad_cursor"
        ) from None


def created_between(column: Any, filters: dict[str, datetime.datetime]) -> list[sa.ColumnElement[bool]]:
    """Conditions for `created_at_from` and `created_at_to`, both inclusive. Times are shown in milliseconds, so the
    upper bound includes the whole of its last millisecond."""
    conditions = []
    if filters.get("created_at_from"):
        conditions.append(column >= filters["created_at_from"])
    if filters.get("created_at_to"):
        conditions.append(column < filters["created_at_to"] + datetime.timedelta(milliseconds=1))
    return conditions
