"""Counters of the record."""

from __future__ import annotations

import sqlalchemy as sa

from app import db
from app.models import Counter
from app.services import counters


def test_counting_goes_on_from_what_was_counted(record: sa.Engine) -> None:
    for times in (1, 3):
        with db.transaction():
            counters.count("refused", times)
    with db.transaction():
        counters.count("another")
    with db.transaction(read_only=True):
        found = {each.name: each.value for each in db.session.scalars(sa.select(Counter))}
    assert found == {"refused": 4, "another": 1}
