"""Counts what this process asks its database for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from app import db


@dataclass
class Asked:
    """The statements that were executed, and the number of transactions that were committed."""

    statements: list[str] = field(default_factory=list)
    commits: int = 0


@contextlib.contextmanager
def counted() -> Iterator[Asked]:
    """What is asked for in the block, by any thread."""
    asked, engine = Asked(), db.session.get_bind()

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            asked.statements.append(statement)

    def note_commit(_connection: Any) -> None:
        asked.commits += 1

    sa.event.listen(engine, "before_cursor_execute", note)
    sa.event.listen(engine, "commit", note_commit)
    try:
        yield asked
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
        sa.event.remove(engine, "commit", note_commit)
