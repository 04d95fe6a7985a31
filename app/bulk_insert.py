"""Inserts new rows without reading them back, and on Postgres all of them by one statement."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from app import db


def insert_together(rows: Sequence[orm.DeclarativeBase], at: datetime.datetime) -> None:
    """Insert new rows, each after those that it refers to, and add them to the session. On Postgres this is one statement.

    `at` is the present time by the database's clock. Columns that default to it get it, so no row is read back.
    """
    values = [_complete(row, at) for row in rows]
    if db.dialect() == "postgresql":
        shape = tuple((row.__table__, tuple(each)) for row, each in zip(rows, values, strict=True))
        named = {f"{name}_{place}": value for place, each in enumerate(values) for name, value in each.items()}
        db.session.execute(_insert_all(shape), named)
    else:
        for row, each in zip(rows, values, strict=True):
            db.session.execute(sa.insert(type(row)), each)
    for row in rows:
        orm.make_transient_to_detached(row)
        db.session.add(row)


def _complete(row: orm.DeclarativeBase, at: datetime.datetime) -> dict[str, Any]:
    """Set the attributes that have no value yet to their defaults. Returns the value of each column that has one."""
    # Nobody asks yet what has changed in the row, so its attributes are set without telling the session.
    given, values = row.__dict__, {}
    for name, column in _columns(type(row)):
        if name not in given:
            given[name] = _default(column, at)
        # None is left out: a JSON column would store it as a JSON null. psycopg also caches only short statements.
        if given[name] is not None:
            values[column.key] = given[name]
    return values


@functools.cache
def _columns(model: type[orm.DeclarativeBase]) -> list[tuple[str, Any]]:
    """The columns of a table, each with the name of its attribute."""
    mapper = sa.inspect(model)
    return [(mapper.get_property_by_column(column).key, column) for column in mapper.local_table.columns]


def _default(column: Any, at: datetime.datetime) -> Any:
    default = column.default
    if default is None:
        return None
    if default.is_callable:
        return default.arg(None)
    return default.arg if default.is_scalar else at


@functools.lru_cache(maxsize=256)
def _insert_all(shape: tuple[tuple[sa.Table, tuple[str, ...]], ...]) -> sa.Insert:
    """One statement that inserts a row into each table, with parameters for the columns of these names."""
    *others, last = (
        sa.insert(table).values({name: sa.bindparam(f"{name}_{place}", type_=table.c[name].type) for name in names})
        for place, (table, names) in enumerate(shape)
    )
    return last.add_cte(*(insert.cte() for insert in others))
