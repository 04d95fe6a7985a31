"""Which session is next: the oldest of the account that runs fewest."""

from __future__ import annotations

import concurrent.futures
import threading
import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from app import db
from app.models import AgentRunnerSession, Site
from app.models.states import Execution, Scope, SessionState, Stage, WaitingReason
from app.services.accounts import accounts
from app.services.accounts.accounts import AccountLimits
from app.services.callers import Caller
from app.services.execution import scheduling, session_attempts
from app.services.execution.outcomes import Outcome
from app.services.runners import agent_runner_sessions
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tests.asking import new_runner, new_session
from tests.matrix import FULL
from tests.services.conftest import claim, read, write

LONG = "long " * 5_000
"""A prompt that counts at once to what the account stores, whose row is locked for it."""
EACH = 8 if FULL else 4
"""How many sessions each of the threads claims, stops or asks for that do so at once."""
UNKNOWN = uuid.UUID(int=0)
"""Which session a message names does not matter, so these name none."""


class Team:
    """An account with a site."""

    def __init__(self, name: str) -> None:
        with db.transaction():
            user, _ = accounts.create(name, f"{name}@example.org", name)
            self.caller = Caller(user.account_id, user.id, uuid.uuid4(), Scope.ADMIN)
            self.site = sites.create(self.caller, SiteFields(repo_url="https://github.com/example/shop.git"))

    def ask(self, site: Site | None = None, prompt: str = "Say hello.") -> uuid.UUID:
        with db.transaction():
            runner = new_runner(self.caller, (site or self.site).id, prompt)
            assert runner.latest_session_id is not None
            return runner.latest_session_id

    def limit(self, most: int) -> None:
        with db.transaction():
            accounts.set_limits(self.caller.account_id, AccountLimits(max_concurrent_sessions=most))


@pytest.fixture
def team(record: sa.Engine) -> Callable[[str], Team]:
    return Team


def claim_next() -> uuid.UUID | None:
    found = claim(UNKNOWN)
    return found.session.id if found else None


def end(session_id: uuid.UUID) -> None:
    with db.transaction():
        session_attempts.finish(session_id, read(session_id).attempt, SessionState.DONE, Outcome())


def test_whatever_is_dispatched_the_oldest_session_is_claimed(ask):
    oldest, newest = ask(), ask()
    taken = claim(newest)
    assert taken and taken.session.id == oldest
    assert claim_next() == newest and claim_next() is None


def test_one_worker_serves_all_accounts_in_turn_however_much_one_requests(team):
    many, few, late = team("many"), team("few"), team("late")
    waiting = [many.ask() for _ in range(5)]
    others = [few.ask(), late.ask(), few.ask()]
    order = []
    while (session_id := claim_next()) is not None:
        order.append(session_id)
        end(session_id)
    assert order == [waiting[0], others[0], others[1], waiting[1], others[2], *waiting[2:]]


def test_the_position_of_a_waiting_session_is_the_order_in_which_they_are_claimed(team):
    many, few, late = team("many"), team("few"), team("late")
    waiting = [many.ask() for _ in range(3)] + [few.ask(), late.ask(), few.ask()]

    def shown():
        with db.transaction():
            return scheduling.waiting(waiting)

    places = {session_id: found.position for session_id, found in shown().items()}
    claimed = [claim_next() for _ in waiting]
    assert sorted(waiting, key=places.__getitem__) == claimed
    assert shown() == {}


@pytest.mark.same_on_both_databases
def test_a_session_says_whose_limit_it_waits_for(team):
    full, other = team("full"), team("other")
    full.limit(1)
    running, held_back, beside = full.ask(), full.ask(), other.ask()
    assert claim_next() == running
    with db.transaction():
        found = scheduling.waiting([running, held_back, beside])
    assert {key: (value.reason, value.position) for key, value in found.items()} == {
        held_back: (WaitingReason.ACCOUNT_LIMIT, 0),
        beside: (WaitingReason.QUEUED, 0),
    }


def test_a_deployment_where_nothing_was_ever_claimed_has_no_worker(team):
    mine = team("mine")
    old, new = mine.ask(), mine.ask()
    write(old, created_at=db.now(-60))

    def reasons():
        with db.transaction():
            found = scheduling.waiting([old, new])
        return {session_id: waiting.reason for session_id, waiting in found.items()}

    assert reasons() == {old: WaitingReason.NO_WORKER, new: WaitingReason.QUEUED}
    assert claim_next() == old
    assert reasons() == {new: WaitingReason.QUEUED}


def test_the_account_that_runs_fewest_comes_first(team):
    busy, idle = team("busy"), team("idle")
    first = [busy.ask() for _ in range(3)]
    assert [claim_next(), claim_next()] == first[:2]
    waiting = [idle.ask() for _ in range(3)]
    assert [claim_next() for _ in range(4)] == [*waiting[:2], first[2], waiting[2]]


def test_sessions_on_external_workers_do_not_delay_an_account(team):
    mixed, other = team("mixed"), team("other")
    with db.transaction():
        outside = sites.create(mixed.caller, SiteFields(repo_url="https://github.com/example/docs.git"))
        sites.update(mixed.caller, outside.id, SiteFields(execution=Execution.EXTERNAL))
    write(mixed.ask(outside), state=SessionState.RUNNING, attempt=1)
    first, second = mixed.ask(), other.ask()
    assert [claim_next(), claim_next()] == [first, second]


def test_a_session_beyond_a_limit_is_skipped(team):
    full, other = team("full"), team("other")
    with db.transaction():
        small = sites.create(full.caller, SiteFields(repo_url="https://github.com/example/docs.git"))
        sites.update(full.caller, small.id, SiteFields(max_concurrent_sessions=1))
    running, held_back = full.ask(small), full.ask(small)
    assert claim_next() == running
    beside, much_later = full.ask(), other.ask()
    full.limit(2)
    assert [claim_next(), claim_next()] == [much_later, beside]
    assert claim_next() is None
    end(beside)
    assert claim_next() is None
    end(running)
    assert claim_next() == held_back


@pytest.mark.same_on_both_databases
def test_a_session_for_external_workers_is_never_next(ada, site, ask):
    with db.transaction():
        sites.update(ada, site.id, SiteFields(execution=Execution.EXTERNAL))
    ask()
    assert claim_next() is None


def test_a_lost_session_that_is_dispatched_keeps_its_place(ask):
    lost, waiting = ask(), ask()
    assert claim_next() == lost
    write(lost, lease_expires_at=db.now(-1))
    again = claim(lost)
    assert again and (again.session.id, again.attempt) == (lost, 2)
    assert claim_next() == waiting


def test_workers_that_claim_at_once_get_one_each_and_each_account_its_share(team):
    first, second = team("first"), team("second")
    waiting = {who: [who.ask() for _ in range(6)] for who in (first, second)}
    claimed = at_once(8)
    assert len(set(claimed)) == 8 and None not in claimed
    assert all(len(set(claimed) & set(ids)) == 4 for ids in waiting.values())
    assert sum(session_id is not None for session_id in at_once(8)) == 4


def test_a_repository_that_did_not_answer_holds_one_worker(team):
    hanging = team("hanging")
    first, second, third = (hanging.ask() for _ in range(3))
    with db.transaction():
        fine = sites.create(hanging.caller, SiteFields(repo_url="https://github.com/example/docs.git"))
        scheduling.record_fetch(hanging.site.id, failed=True)
    other = hanging.ask(fine)
    assert [claim_next(), claim_next(), claim_next()] == [first, other, None]
    with db.transaction():
        found = scheduling.waiting([second, third])
    assert [(found[each].reason, found[each].position) for each in (second, third)] == [
        (WaitingReason.FETCH, 0),
        (WaitingReason.FETCH, 1),
    ]
    write(first, reported_stage=Stage.PREPARING)
    assert claim_next() == second
    with db.transaction():
        scheduling.record_fetch(hanging.site.id, failed=False)
    assert claim_next() == third


def test_a_session_that_fetches_for_long_has_no_other_of_its_site_beside_it(team):
    slow = team("slow")
    first, second = slow.ask(), slow.ask()
    assert claim_next() == first
    write(first, reported_stage=Stage.FETCHING, started_at=db.now(-scheduling.SLOW_FETCH_SECONDS - 5))
    assert claim_next() is None
    write(first, reported_stage=Stage.AGENT)
    assert claim_next() == second


@pytest.mark.same_on_both_databases
def test_the_last_places_are_for_accounts_that_run_none(team, configure):
    configure(MAX_SHARED_SESSIONS="2")
    teams = [team(name) for name in ("one", "two", "three")]
    first, second, third = ([who.ask() for _ in range(2)] for who in teams)
    assert [claim_next() for _ in range(4)] == [first[0], second[0], third[0], None]
    end(first[0])
    assert claim_next() == first[1], "it runs none now"
    end(third[0])
    end(second[0])
    assert [claim_next(), claim_next()] == [second[1], third[1]]


@pytest.mark.same_on_both_databases
def test_a_session_of_a_mode_that_only_a_later_release_knows_is_left_to_its_workers(team):
    who = team("early")
    later, known = who.ask(), who.ask()
    write(later, mode=sa.literal("later", sa.String()))
    assert [claim_next(), claim_next()] == [known, None]


def at_once(workers: int) -> list[uuid.UUID | None]:
    barrier = threading.Barrier(workers)

    def worker(_: int) -> uuid.UUID | None:
        barrier.wait()
        return claim_next()

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(worker, range(workers)))


def test_concurrent_claims_stops_and_follow_ups_do_not_deadlock(team):
    teams = [team(f"team-{number}") for number in range(3)]
    asked = [who.ask() for who in teams for _ in range(EACH)]
    barrier = threading.Barrier(9)

    def work(number: int) -> None:
        barrier.wait()
        who = teams[number % 3]
        if number < 3:
            for _ in range(EACH):
                claim(UNKNOWN)
        elif number < 6:
            for session_id in asked[number % 3 * EACH :][:EACH]:
                runner_id = read(session_id).agent_runner_id
                with db.transaction():
                    agent_runner_sessions.stop(who.caller, runner_id, session_id)
                with db.transaction():
                    new_session(who.caller, runner_id, LONG)
        else:
            for _ in range(EACH // 2):
                who.ask()
                who.ask(prompt=LONG)

    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        list(pool.map(work, range(9)))
    while claim_next():
        pass
    with db.transaction(read_only=True):
        states = set(db.session.scalars(sa.select(AgentRunnerSession.state)))
    assert states == {SessionState.RUNNING, SessionState.CANCELLED}
