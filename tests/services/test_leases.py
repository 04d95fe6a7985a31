"""The rules of a lease, which are the same for sessions and publications."""

from __future__ import annotations

import concurrent.futures
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from app import db
from app.models import AgentRunnerSession, Publication
from app.models.leased import Leased
from app.models.states import PublicationState, SessionState
from app.services import leases, sweep
from app.services.execution import repairs, session_attempts
from app.services.publishing import publication_attempts

# Both kinds of rows have the same statements, so SQLite is tried with one of them; `--full` tries both.
pytestmark = pytest.mark.parametrize(
    ("database_url", "kind"),
    [
        ("postgres", "session"),
        ("postgres", "publication"),
        ("sqlite", "session"),
        pytest.param("sqlite", "publication", marks=pytest.mark.full),
    ],
    indirect=["database_url"],
)


@dataclass(frozen=True)
class Client:
    """A kind of row that workers claim, with the verbs of its own."""

    model: type[Leased]
    make: Callable[..., uuid.UUID]
    claim_row: Callable[[uuid.UUID], Any]
    repair_row: Callable[[uuid.UUID], None]
    find: Callable[[], list[uuid.UUID]]
    give_back: Callable[[uuid.UUID, int], Any]
    given_up: object
    """The state of one that lost too many workers."""

    def claim(self, row_id: uuid.UUID) -> bool:
        with db.transaction():
            return self.claim_row(row_id) is not None

    def beat(self, row_id: uuid.UUID, attempt: int) -> None:
        with db.transaction():
            leases.beat(self.model, row_id, attempt)

    def sweep(self) -> list[uuid.UUID]:
        with db.transaction(read_only=True):
            found = self.find()
        for row_id in found:
            with db.transaction():
                self.repair_row(row_id)
        return found

    def read(self, row_id: uuid.UUID) -> Leased:
        with db.transaction(read_only=True):
            return db.session.get_one(self.model, row_id)

    def write(self, row_id: uuid.UUID, **values: object) -> None:
        """Change a row behind the verbs' back, as the passing of time does."""
        with db.transaction():
            db.session.execute(sa.update(self.model).where(self.model.id == row_id).values(**values))

    def pass_lease(self, row_id: uuid.UUID) -> None:
        self.write(row_id, lease_expires_at=db.now(-1))


@pytest.fixture
def client(kind: str, ask: Callable[..., uuid.UUID], publish: Callable[..., uuid.UUID]) -> Client:
    if kind == "session":
        return Client(
            AgentRunnerSession,
            ask,
            lambda session_id: session_attempts.claim(session_id, "task"),
            repairs.repair,
            sweep.find_sessions,
            session_attempts.requeue,
            SessionState.ERROR,
        )
    return Client(
        Publication,
        publish,
        publication_attempts.claim,
        publication_attempts.repair,
        sweep.find_publications,
        publication_attempts.retry_later,
        PublicationState.FAILED,
    )


def test_one_is_claimed_by_one_worker_however_many_try(client):
    row_id = client.make()
    barrier = threading.Barrier(8)

    def attempt(_):
        barrier.wait()
        return client.claim(row_id)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    assert client.read(row_id).attempt == 1


def test_a_live_lease_is_not_claimed_and_a_heartbeat_extends_it(client):
    row_id = client.make()
    assert client.claim(row_id) and not client.claim(row_id)
    client.pass_lease(row_id)
    client.beat(row_id, 1)
    assert not client.claim(row_id)
    assert client.sweep() == [] and client.read(row_id).attempt == 1


def test_a_heartbeat_of_an_earlier_attempt_changes_nothing(client):
    row_id = client.make()
    assert client.claim(row_id)
    client.pass_lease(row_id)
    assert client.claim(row_id)
    before = client.read(row_id)
    with pytest.raises(leases.LeaseLost):
        client.beat(row_id, 1)
    assert before.attempt == 2 and client.read(row_id).lease_expires_at == before.lease_expires_at
    client.beat(row_id, 2)


def test_a_heartbeat_after_the_release_of_the_row_changes_nothing(client):
    row_id = client.make()
    assert client.claim(row_id)
    with db.transaction():
        client.give_back(row_id, 1)
    with pytest.raises(leases.LeaseLost):
        client.beat(row_id, 1)
    row = client.read(row_id)
    assert (row.state, row.lease_expires_at, row.workers_lost) == (client.model.WAITING, None, 0)
    assert row.next_dispatch_at is not None and client.claim(row_id)


def test_a_heartbeat_for_a_missing_row_is_refused(client):
    with pytest.raises(leases.LeaseLost):
        client.beat(db.new_id(), 1)


def test_a_lost_worker_is_replaced_until_three_were_lost(client):
    row_id = client.make()
    for attempt in (1, 2, 3):
        assert client.claim(row_id) and client.read(row_id).attempt == attempt
        client.pass_lease(row_id)
    assert not client.claim(row_id)
    row = client.read(row_id)
    assert (row.state, row.workers_lost, row.attempt) == (client.given_up, 3, 3)
    assert (row.lease_expires_at, row.next_dispatch_at) == (None, None)


def test_the_sweep_ends_what_lost_three_workers(client):
    row_id = client.make()
    for _ in range(3):
        assert client.claim(row_id)
        client.pass_lease(row_id)
        assert client.sweep() == [row_id]
    assert client.read(row_id).state == client.given_up and client.sweep() == []


def test_the_sweep_dispatches_what_lost_its_worker_and_twice_is_once(client):
    row_id = client.make()
    assert client.claim(row_id)
    client.pass_lease(row_id)
    assert client.sweep() == [row_id] and client.sweep() == []
    row = client.read(row_id)
    assert (row.state, row.workers_lost, row.dispatches) == (client.model.WAITING, 1, 1)
    assert row.next_dispatch_at is not None and row.lease_expires_at is None


def test_the_sweep_dispatches_what_waits_less_and_less_often(client):
    row_id = client.make()
    assert client.read(row_id).dispatches == 1
    for dispatches in (2, 3):
        client.write(row_id, next_dispatch_at=db.now(-1))
        assert client.sweep() == [row_id]
        assert client.read(row_id).dispatches == dispatches
    assert client.sweep() == []
    assert leases.redispatch_wait(3) > leases.redispatch_wait(2)


def test_a_session_that_waited_for_weeks_is_still_dispatched(client):
    row_id = client.make()
    client.write(row_id, dispatches=5000, next_dispatch_at=db.now(-1))
    client.sweep()
    assert client.read(row_id).dispatches == 5001
    assert leases.redispatch_wait(5001) == leases.MAX_REDISPATCH_SECONDS


def test_the_sweep_takes_the_longest_due_first_and_before_them_what_lost_its_worker(client, monkeypatch):
    monkeypatch.setattr(sweep, "AT_ONCE", 2)
    rows = [client.make() for _ in range(4)]
    for seconds, row_id in enumerate(rows):
        client.write(row_id, next_dispatch_at=db.now(-1 - seconds))
    lost = rows[0]
    client.write(lost, state=client.model.HELD, attempt=1, lease_expires_at=db.now(-1), next_dispatch_at=None)
    with db.transaction(read_only=True):
        assert client.find() == [lost, rows[3], rows[2]]


def test_a_message_for_a_missing_row_is_dropped(client):
    assert not client.claim(db.new_id())
    with db.transaction():
        client.repair_row(db.new_id())
