"""Inserts new rows without reading them back, and on Postgres all of them by one statement."""

from __future__ import annotations

import datetime
import functools
import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from app import db

_Names = tuple[tuple[str, str], ...]


def insert_together(rows: Sequence[orm.DeclarativeBase], at: datetime.datetime) -> None:
    """Insert new rows, each after those that it refers to, and add them to the session. On Postgres this is one statement.

    `at` is the present time by the database's clock. Columns that default to it get it, so no row is read back.
    """
    values = [_complete(row, at) for row in rows]
    if db.dialect() == "postgresql":
        columns, parameters = _parameters(values)
        shape = tuple((row.__table__, names) for row, names in zip(rows, columns, strict=True))
        db.session.execute(_insert_all(shape), parameters)
    else:
        for row, each in zip(rows, values, strict=True):
            db.session.execute(sa.insert(type(row)), each)
    for row in rows:
        orm.make_transient_to_detached(row)
        db.session.add(row)


def _parameters(rows: Sequence[dict[str, Any]]) -> tuple[list[_Names], dict[str, Any]]:
    """The columns of each row with the names of their parameters, and the values of these.

    Each id and time is one, in however many columns: psycopg reads a statement with more than fifty anew each time.
    """
    shared: dict[Any, str] = {}
    values: dict[str, Any] = {}
    columns: list[_Names] = []
    for place, row in enumerate(rows):
        names = []
        for name, value in row.items():
            parameter = f"{name}_{place}"
            if type(value) in (uuid.UUID, datetime.datetime):
                parameter = shared.setdefault(value, parameter)
            values[parameter] = value
            names.append((name, parameter))
        columns.append(tuple(names))
    return columns, values


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
def _insert_all(shape: tuple[tuple[sa.Table, _Names], ...]) -> sa.Insert:
    """One statement that inserts a row into each table. Each column of these names has the parameter beside it."""
    *others, last = (
        sa.insert(table).values(
            {name: sa.bindparam(parameter, type_=table.c[name].type) for name, parameter in columns}
        )
        for table, columns in shape
    )
    return last.add_cte(*(insert.cte() for insert in others))
