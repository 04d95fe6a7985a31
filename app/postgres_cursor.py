"""A cursor of psycopg that describes the columns of a result only to who asks.

psycopg makes an object for each column of each result. SQLAlchemy knows the columns of a statement that it has executed
before, and only asks whether there are any.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import psycopg


class _Description(Sequence[psycopg.Column]):
    def __init__(self, read: Callable[[], list[psycopg.Column]]) -> None:
        self._read = read

    @functools.cached_property
    def _columns(self) -> list[psycopg.Column]:
        return self._read()

    def __len__(self) -> int:
        return len(self._columns)

    def __getitem__(self, place: Any) -> Any:
        return self._columns[place]


class Cursor(psycopg.Cursor[Any]):
    """psycopg's own, with a `description` that is made when it is read first."""

    @property
    def description(self) -> Any:
        result = self.pgresult
        if result is None or not result.nfields:
            return super().description
        return _Description(lambda: [psycopg.Column(self, place) for place in range(result.nfields)])
