"""What a sweep costs, which runs every few seconds in every deployment."""

from __future__ import annotations

import sqlalchemy as sa

from app import db
from app.models import LastRun
from app.services import last_runs
from tasks.sweep import sweep_all
from tests.statements import counted


def test_a_sweep_that_finds_nothing_asks_little(record: sa.Engine) -> None:
    sweep_all()
    with counted() as asked:
        sweep_all()
    # On Postgres also: whether a connection that was idle still works.
    assert len(asked.statements) <= 22, asked.statements
    assert not [statement for statement in asked.statements if statement.startswith("DELETE")]


def test_what_is_kept_for_days_is_deleted_once_a_minute(record: sa.Engine) -> None:
    sweep_all()
    with db.transaction():
        db.session.execute(
            sa.update(LastRun).where(LastRun.name == last_runs.FORGETTING).values(at=db.now(-61)),
        )
    with counted() as asked:
        sweep_all()
    assert [statement for statement in asked.statements if statement.startswith("DELETE")]
