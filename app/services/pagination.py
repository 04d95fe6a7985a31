"""Pages of a list: by number, with a total, or by cursor, at a constant cost."""

from __future__ import annotations

import base64
import datetime
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy import orm

from app import db
from app.errors import invalid

T = TypeVar("T")
U = TypeVar("U")


COUNTED = 10_000
"""Rows of a list are counted up to this number, so that a total costs the same in a list of any length."""


@dataclass(frozen=True)
class Search:
    """Conditions by which indexes find rows in any order. `ids` are queries for ids, one of which finds each row; none: the
    conditions alone find them."""

    conditions: Sequence[sa.ColumnElement[bool]]
    ids: Sequence[sa.Select[uuid.UUID]] = ()


@dataclass(frozen=True)
class Listing(Generic[T]):
    """The rows of a list, in the order of `keys`, which are a time and the id.

    `parts` are conditions that divide the rows into disjoint sets. Each set should be one range of an index that
    continues with `keys`: then a page is merged from the ranges, without sorting, and only its own rows are read.
    """

    model: type[T]
    keys: tuple[Any, Any]
    parts: Sequence[Sequence[sa.ColumnElement[bool]]]
    descending: bool = False
    search: Search | None = None
    """How to find the rows of the list in another order than its own, all at once. None: not at all."""
    unread: Sequence[Any] = ()
    """Columns that are not read, because a list would be too long with them."""

    def first(self, limit: int, offset: int = 0, cursor: str | None = None) -> list[T]:
        """Up to `limit` rows after the first `offset`, or after the cursor."""
        ranges = [sa.select(*self.keys).where(*part) for part in self.parts]
        if cursor is not None:
            place, values = sa.tuple_(*self.keys), sa.tuple_(*_values_of(cursor))
            ranges = [some.where(place < values if self.descending else place > values) for some in ranges]
        # Postgres merges only what is ordered already, and SQLite knows no order within a union but that of subqueries.
        ids = self._in_order(_merged([self._in_order(some) for some in ranges])).limit(limit).offset(offset).subquery()
        return list(db.session.scalars(self._rows_of(ids)))

    def found(self, search: Search, limit: int, offset: int) -> tuple[list[T], int]:
        """The same as `first` and `count`, from one search. The rows mean nothing if the count exceeds `COUNTED`."""
        sources = [ids.limit(COUNTED + 1).cte(f"source_{number}") for number, ids in enumerate(search.ids)]
        conditions = list(search.conditions)
        # What a source has beyond its limit may belong to the list. Then none of its rows are looked up.
        is_incomplete = sa.or_(sa.false(), *(_count(source) > COUNTED for source in sources))
        if sources:
            ids_found = sa.union_all(*(sa.select(source.c[0]) for source in sources))
            conditions += [sa.not_(is_incomplete), self.keys[1].in_(ids_found)]
        found = sa.select(*self.keys).where(*conditions).limit(COUNTED + 1).cte("found")
        total = sa.select(sa.case((is_incomplete, COUNTED + 1), else_=_count(found)).label("total")).subquery()
        ids = self._in_order(sa.select(*found.c)).limit(limit).offset(offset).subquery()
        # There is a total even without rows.
        joined = sa.outerjoin(total, ids, sa.true()).outerjoin(self.model, ids.c[1] == self.keys[1])
        rows = db.session.execute(self._in_full(sa.select(self.model, total.c.total).select_from(joined))).all()
        return [row[0] for row in rows if row[0] is not None], rows[0][1]

    def count(self) -> int:
        """The number of rows, of which at most one more than `COUNTED` are counted."""
        ranges = [sa.select(self.keys[1]).where(*part) for part in self.parts]
        counted = _merged(ranges).limit(COUNTED + 1).subquery()
        return db.session.scalar(sa.select(sa.func.count()).select_from(counted)) or 0

    def _rows_of(self, ids: sa.Subquery) -> sa.Select[Any]:
        return self._in_full(sa.select(self.model).join(ids, ids.c[1] == self.keys[1]))

    def _in_full(self, rows: sa.Select[Any]) -> sa.Select[Any]:
        options = [orm.defer(column, raiseload=True) for column in self.unread]
        return rows.order_by(*self._directed(self.keys)).options(*options)

    def _in_order(self, ids: Any) -> Any:
        return ids.order_by(None).order_by(*self._directed(ids.selected_columns))

    def _directed(self, keys: Iterable[Any]) -> list[Any]:
        return [key.desc() if self.descending else key.asc() for key in keys]


def _count(rows: sa.CTE) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(rows).scalar_subquery()


def _merged(ranges: list[sa.Select[Any]]) -> Any:
    return ranges[0] if len(ranges) == 1 else sa.union_all(*(sa.select(some.subquery()) for some in ranges))


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list. `total` is None when paging by cursor. `next_cursor` is None at the end of the list."""

    items: list[T]
    number: int
    per_page: int
    total: int | None
    next_cursor: str | None
    is_capped: bool = False
    """Whether the list has more rows than `total`."""

    def map(self, view: Callable[[T], U]) -> Page[U]:
        """The same page with what `view` makes of each item."""
        return Page(
            [view(each) for each in self.items],
            *(self.number, self.per_page, self.total, self.next_cursor, self.is_capped),
        )


def find(listing: Listing[T], filters: dict[str, Any]) -> Page[T]:
    """The page that `page`, `per_page` and `cursor` of the filters name."""
    cursor, number, per_page = filters.get("cursor"), filters["page"], filters["per_page"]
    offset = 0 if cursor else (number - 1) * per_page
    # One row more than the page says whether the list continues.
    search = None if cursor else listing.search
    items, total = listing.found(search, per_page + 1, offset) if search else ([], None)
    if total is None or total > COUNTED:
        items = listing.first(per_page + 1, offset, cursor or None)
    more, items = len(items) > per_page, items[:per_page]
    following = cursor_of(items[-1], listing.keys) if more else None
    if cursor:
        return Page(items, 1, per_page, None, following)
    if total is None:
        is_last = not more and (items or number == 1)
        total = offset + len(items) if is_last else listing.count()
    return Page(items, number, per_page, min(total, COUNTED), following, total > COUNTED)


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
    """Conditions for `created_at_from` and `created_at_to`, both inclusive."""
    conditions = []
    if filters.get("created_at_from"):
        conditions.append(column >= filters["created_at_from"])
    if filters.get("created_at_to"):
        conditions.append(column < after(filters["created_at_to"]))
    return conditions


def after(moment: datetime.datetime) -> datetime.datetime:
    """The end of a period that includes `moment`: times are shown in milliseconds, so all of the last one belongs to it."""
    return moment + datetime.timedelta(milliseconds=1)
