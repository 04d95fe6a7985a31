"""When something last ran, and who runs it next."""

from __future__ import annotations

import concurrent.futures

import sqlalchemy as sa

from app import db
from app.models import LastRun
from app.services import last_runs
from tasks.sweep import sweep_all


def take(every_seconds: float = 60.0) -> bool:
    with db.transaction():
        return last_runs.start_if_due("cleaning", every_seconds)


def test_of_many_concurrent_calls_one_starts_it(record: sa.Engine) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(lambda _: take(), range(16))) == [False] * 15 + [True]


def test_it_is_due_again_after_the_interval(record: sa.Engine) -> None:
    assert take() and not take()
    with db.transaction():
        db.session.execute(sa.update(LastRun).values(at=db.now(-61)))
    assert take() and not take()


def test_the_age_of_the_sweep_is_that_of_the_last_completed_one(record: sa.Engine) -> None:
    with db.transaction(read_only=True):
        assert last_runs.age(last_runs.SWEEP) is None
    sweep_all()
    with db.transaction():
        assert last_runs.age(last_runs.SWEEP) is not None
        db.session.execute(sa.update(LastRun).where(LastRun.name == last_runs.SWEEP).values(at=db.now(-100)))
    with db.transaction(read_only=True):
        assert 100 <= (last_runs.age(last_runs.SWEEP) or 0) < 160
    sweep_all()
    with db.transaction(read_only=True):
        assert 0 <= (last_runs.age(last_runs.SWEEP) or 0) < 60
