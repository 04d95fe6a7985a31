"""Which sessions are dispatched, and that none that waits is forgotten."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from app import db, queue
from app.errors import TooMany
from app.models import Account, AgentRunner, Event, Site
from app.models.states import Execution, SessionState
from app.services import sweep
from app.services.accounts import accounts
from app.services.accounts.accounts import AccountLimits
from app.services.callers import Caller
from app.services.execution import session_attempts
from app.services.execution.outcomes import Outcome
from app.services.runners import agent_runner_sessions
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tasks.sweep import sweep_all
from tests.services.conftest import claim, listening, read, write


@pytest.fixture
def enqueued(configure: Callable[..., None], record: sa.Engine) -> Iterator[Callable[[], list[str]]]:
    """The sessions that were enqueued since the last call."""
    configure(BROKER_URL="memory://")
    with listening(queue.SESSIONS) as look:
        yield look


@pytest.fixture
def other_site(ada: Caller) -> Site:
    with db.transaction():
        return sites.create(ada, SiteFields(repo_url="https://github.com/example/other.git"))


def limit(model: type[Account] | type[Site], row_id: uuid.UUID, most: int) -> None:
    with db.transaction():
        db.session.execute(sa.update(model).where(model.id == row_id).values(max_concurrent_sessions=most))


def end(session_id: uuid.UUID, attempt: int = 1) -> None:
    with db.transaction():
        session_attempts.finish(session_id, attempt, SessionState.DONE, Outcome())


def test_the_end_of_a_session_dispatches_the_next_one(ada, site, other_site, ask, enqueued):
    limit(Account, ada.account_id, 2)
    limit(Site, site.id, 1)
    full, other = ask(), ask(site_id=other_site.id)
    assert claim(full) and claim(other)
    held_back, waiting = ask(), ask(site_id=other_site.id)
    assert claim(held_back) is None and claim(waiting) is None
    enqueued()
    end(other)
    assert enqueued() == [str(waiting)]
    end(full)
    assert enqueued() == [str(held_back)]


def test_the_end_of_a_session_that_never_ran_dispatches_none(ada, ask, enqueued):
    stopped, _ = ask(), ask()
    enqueued()
    with db.transaction():
        agent_runner_sessions.stop(ada, read(stopped).agent_runner_id, stopped)
    assert enqueued() == []


def test_each_sweep_dispatches_the_next_one_so_that_no_lost_message_keeps_a_worker_idle(ask, enqueued):
    waiting = [ask(), ask()]
    enqueued()
    sweep_all()
    assert enqueued() == [str(waiting[0])]


def test_a_waiting_session_is_dispatched_once_its_site_may_run_more(ada, site, ask):
    limit(Site, site.id, 1)
    running, waiting = ask(), ask()
    assert claim(running) and claim(waiting) is None
    with db.transaction():
        sites.update(ada, site.id, SiteFields(max_concurrent_sessions=2))
    with db.transaction(read_only=True):
        assert sweep.find_sessions() == [waiting]


def test_a_waiting_session_is_dispatched_once_its_account_may_run_more(ada, ask):
    with db.transaction():
        accounts.set_limits(ada.account_id, AccountLimits(max_concurrent_sessions=1))
    running, waiting = ask(), ask()
    assert claim(running) and claim(waiting) is None
    with db.transaction():
        accounts.set_limits(ada.account_id, AccountLimits(max_concurrent_sessions=None))
    with db.transaction(read_only=True):
        assert sweep.find_sessions() == [waiting]
    assert claim(waiting)


def test_an_account_may_have_fewer_waiting_than_others(ada, ask):
    with db.transaction():
        accounts.set_limits(ada.account_id, AccountLimits(max_queued_sessions=1))
    ask()
    with pytest.raises(TooMany):
        ask()
    with db.transaction():
        accounts.set_limits(ada.account_id, AccountLimits(max_queued_sessions=None))
    assert ask()


def test_one_failed_repair_does_not_delay_the_others(ask):
    broken, waiting = ask(), ask()
    for session_id in (broken, waiting):
        write(session_id, next_dispatch_at=db.now(-1))
    with db.transaction():
        row = db.session.get_one(AgentRunner, read(broken).agent_runner_id)
        # The number of its next event is taken already, so that nothing can be recorded of it.
        db.session.add(Event(agent_runner_id=row.id, seq=row.last_event_seq + 1, kind="state"))
    claim_behind_the_back(broken)
    sweep_all()
    assert read(waiting).dispatches == 2


def claim_behind_the_back(session_id: uuid.UUID) -> None:
    write(session_id, state=SessionState.RUNNING, attempt=1, lease_expires_at=db.now(-1))


def test_a_session_that_is_requeued_for_external_workers_is_not_dispatched(ada, site, ask):
    session_id = ask()
    claim(session_id)
    with db.transaction():
        sites.update(ada, site.id, SiteFields(execution=Execution.EXTERNAL))
    with db.transaction():
        assert session_attempts.requeue(session_id, 1)
    assert read(session_id).next_dispatch_at is None


def test_what_a_lost_attempt_reported_is_no_part_of_the_next(ask):
    session_id = ask()
    claim(session_id)
    write(session_id, result="half", result_diff_key="1/result.patch", duration=5, lease_expires_at=db.now(-1))
    assert claim(session_id)
    session = read(session_id)
    assert (session.attempt, session.result, session.result_diff_key, session.duration) == (2, None, None, None)


def test_a_session_takes_no_negative_time_if_the_clock_is_set_back(ask):
    session_id = ask()
    claim(session_id)
    write(session_id, started_at=db.now(3600))
    with db.transaction():
        session_attempts.finish(session_id, 1, SessionState.DONE, Outcome())
    assert read(session_id).duration == 0
