"""A session whose model's quota is used up waits for it, where its site says so, and goes on from its work so far."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable

import pytest

from app import db
from app.models import AgentRunnerSession, Site
from app.models.states import Execution, OnQuota, SessionState, WaitingReason
from app.services import leases
from app.services.callers import Caller
from app.services.execution import scheduling, session_attempts, transcripts
from app.services.execution.outcomes import Failure, Outcome, Work
from app.services.runners import agent_runner_sessions
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tests.services.conftest import claim, read, write

alike = pytest.mark.same_on_both_databases
HOUR = datetime.timedelta(hours=1)
WORK = Work("result", "cumulative", usage={"input_tokens": 5, "cost_usd": 0.5}, conversation_key="talk")


@pytest.fixture
def waiting_site(ada: Caller, site: Site) -> Site:
    with db.transaction():
        return sites.update(ada, site.id, SiteFields(on_quota=OnQuota.WAIT))


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def run_out(session_id: uuid.UUID, retry_at: datetime.datetime | None = None, work: Work = WORK) -> None:
    """Let the next attempt at the session end for a quota."""
    claimed = claim(session_id)
    assert claimed is not None and claimed.session.id == session_id
    failure = Failure("quota", "agent", retryable=True, message="It is used up.", retry_at=retry_at)
    with db.transaction():
        session_attempts.finish(session_id, claimed.attempt, SessionState.ERROR, Outcome(work, failure=failure))


def reason(session_id: uuid.UUID) -> scheduling.Waiting:
    with db.transaction(read_only=True):
        return scheduling.waiting([session_id])[session_id]


def due() -> list[uuid.UUID]:
    with db.transaction(read_only=True):
        return leases.find_due(AgentRunnerSession, 10)


def test_it_waits_until_the_reset_and_goes_on(ask: Callable[..., uuid.UUID], waiting_site: Site) -> None:
    session_id, reset = ask(), now() + HOUR
    run_out(session_id, reset)
    waits = read(session_id)
    assert (waits.state, waits.failure, waits.task_id) == (SessionState.NEW, None, None)
    assert waits.cumulative_diff_key == "cumulative", "its work can be read meanwhile"
    assert reason(session_id) == scheduling.Waiting(WaitingReason.QUOTA, 0, reset)
    assert claim(session_id) is None and due() == []
    other = ask()
    assert reason(other).position == 0
    run_out(other, reset)
    write(session_id, waiting_until=now(), next_dispatch_at=now())
    assert due() == [session_id]
    again = claim(uuid.UUID(int=0))
    assert again is not None and again.session.id == session_id and again.attempt == 2
    assert again.session.goes_on and again.session.conversation_key == "talk"
    assert (again.session.usage or {})["cost_usd"] == 0.5
    with db.transaction(read_only=True):
        assert "had to stop because its model accepted no more calls" in transcripts.transcript(session_id)


@alike
def test_a_worker_that_is_lost_after_the_wait_loses_no_work(ask: Callable[..., uuid.UUID], waiting_site: Site) -> None:
    session_id = ask()
    run_out(session_id)
    write(session_id, waiting_until=now())
    assert claim(session_id)
    write(session_id, lease_expires_at=now() - HOUR)
    third = claim(session_id)
    assert third and (third.attempt, third.session.cumulative_diff_key) == (3, "cumulative")


@alike
def test_work_that_was_taken_back_is_not_kept(ask: Callable[..., uuid.UUID], waiting_site: Site) -> None:
    session_id = ask()
    run_out(session_id)
    write(session_id, waiting_until=now())
    assert claim(session_id)
    with db.transaction():
        session_attempts.finish(session_id, 2, SessionState.DONE, Outcome(Work(is_all=True)))
    assert not read(session_id).has_result_diff


@alike
@pytest.mark.parametrize(("hours", "waits"), [(None, 5 / 60), (0.01, 5 / 60), (3, 3), (30, None)])
def test_the_wait_has_a_lower_and_an_upper_bound(
    ask: Callable[..., uuid.UUID], waiting_site: Site, hours: float | None, waits: float | None
) -> None:
    session_id, began = ask(), now()
    run_out(session_id, None if hours is None else began + hours * HOUR)
    session = read(session_id)
    if waits is None:
        assert session.state == SessionState.ERROR and session.failure
        assert session.failure["code"] == "quota" and session.failure["retry_at"].endswith("Z")
    else:
        assert session.waiting_until
        assert abs(session.waiting_until - began - waits * HOUR) < datetime.timedelta(minutes=1)


@alike
@pytest.mark.parametrize(("hours", "waits"), [(1, 1), (6, 6), (13, 11)])
def test_without_a_named_time_each_wait_is_as_long_as_all_before_it(
    ask: Callable[..., uuid.UUID], waiting_site: Site, hours: float, waits: float
) -> None:
    session_id = ask()
    run_out(session_id)
    write(session_id, waiting_since=now() - hours * HOUR, waiting_until=now())
    run_out(session_id)
    until = read(session_id).waiting_until
    assert until and abs(until - now() - waits * HOUR) < datetime.timedelta(minutes=1)


@alike
def test_all_waits_together_have_an_end(ask: Callable[..., uuid.UUID], waiting_site: Site) -> None:
    session_id = ask()
    run_out(session_id)
    write(session_id, waiting_since=now() - 24 * HOUR, waiting_until=now())
    run_out(session_id)
    assert read(session_id).state == SessionState.ERROR


@alike
def test_one_that_waits_is_stopped_at_once(ada: Caller, ask: Callable[..., uuid.UUID], waiting_site: Site) -> None:
    session_id = ask()
    run_out(session_id)
    with db.transaction():
        agent_runner_sessions.stop(ada, read(session_id).agent_runner_id, session_id)
    stopped = read(session_id)
    assert stopped.state == SessionState.CANCELLED and stopped.has_cumulative_diff and due() == []


@alike
def test_a_change_of_the_site_does_not_cut_the_wait_short(
    ada: Caller, ask: Callable[..., uuid.UUID], waiting_site: Site
) -> None:
    session_id = ask()
    run_out(session_id)
    for execution in (Execution.EXTERNAL, Execution.INTERNAL):
        with db.transaction():
            sites.update(ada, waiting_site.id, SiteFields(execution=execution))
    session = read(session_id)
    assert session.next_dispatch_at == session.waiting_until


@alike
def test_without_it_the_session_fails(ask: Callable[..., uuid.UUID], site: Site) -> None:
    session_id = ask()
    run_out(session_id)
    assert read(session_id).state == SessionState.ERROR
