"""What operators watch for, counted in the record, because no process lives as long as the deployment."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from app import db
from app.models import Counter

_INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def count(name: str, times: int = 1) -> None:
    """Count `times` more of what `name` says has happened."""
    insert = _INSERT[db.dialect()](Counter).values(name=name, value=times)
    db.session.execute(
        insert.on_conflict_do_update(index_elements=[Counter.name], set_={"value": Counter.value + times})
    )
