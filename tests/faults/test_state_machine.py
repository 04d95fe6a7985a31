"""Claim, beat, finish, stop, expiry and sweep in any order, by workers that live and by ones that come back too late.

After each step the record is what the model says, and holds what must hold of it whatever happened.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from app import db
from app.errors import Conflict
from app.models import Account, AgentRunner, AgentRunnerSession, Base, Event
from app.models.states import Scope, SessionState
from app.services import leases, sweep
from app.services.accounts import accounts
from app.services.callers import Caller
from app.services.execution import progress, repairs, session_attempts
from app.services.execution.outcomes import Outcome, Work
from app.services.runners import agent_runner_sessions
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tests.asking import new_runner, new_session
from tests.faults import lease_model as model
from tests.matrix import FULL
from tests.services.conftest import write

MOST = st.sampled_from([None, 1, 2])
LATE = st.sampled_from([0, 0, 0, 1, 2])
"""By how many attempts a worker is late: mostly it is the one that holds the session, or held it last."""
# As many as take a minute or two on a busy machine, and a few of them each time.
EXAMPLES = {"sqlite": 800, "postgresql": 100} if FULL else {"sqlite": 60, "postgresql": 20}


class Sessions(RuleBasedStateMachine):
    """Two accounts, one of them with two sites. Every rule does a thing to the record and to the model."""

    known = Bundle("known")

    @initialize(mine=MOST, others=MOST, places=st.tuples(MOST, MOST, MOST))
    def begin(self, mine: int | None, others: int | None, places: tuple[int | None, ...]) -> None:
        self.model = model.Model([(mine, [*places[:2]]), (others, [*places[2:]])])
        self.ids: dict[Any, uuid.UUID] = {}
        self.callers: dict[model.Account, Caller] = {}
        with db.transaction():
            for table in reversed(Base.metadata.sorted_tables):
                db.session.execute(table.delete())
            for account in self.model.accounts:
                self._make_account(account)

    def _make_account(self, account: model.Account) -> None:
        user, _ = accounts.create("a team", f"{db.new_id()}@example.org", "Ada")
        db.session.get_one(Account, user.account_id).max_concurrent_sessions = account.most
        caller = self.callers[account] = Caller(user.account_id, user.id, uuid.uuid4(), Scope.ADMIN)
        for site in account.sites:
            address = "https://github.com/example/shop.git"
            fields = SiteFields(repo_url=address, max_concurrent_sessions=site.most)
            self.ids[site] = sites.create(caller, fields).id

    def caller(self, runner: model.Runner) -> Caller:
        return self.callers[runner.site.account]

    @rule(target=known, account=st.integers(0, 1), site=st.integers(0, 1))
    def ask(self, account: int, site: int) -> model.Session:
        places = self.model.accounts[account].sites
        session = self.model.ask(places[site % len(places)])
        runner = session.runner
        with db.transaction():
            made = new_runner(self.caller(runner), self.ids[runner.site])
            assert made.latest_session_id is not None
            self.ids[runner], self.ids[session] = made.id, made.latest_session_id
        return session

    @rule(target=known, session=known)
    def follow_up(self, session: model.Session) -> Any:
        runner = session.runner
        busy = any(each.is_active for each in runner.sessions)
        with raises("active_session_exists" if busy else None), db.transaction():
            made = new_session(self.caller(runner), self.ids[runner])
        if busy:
            return multiple()
        followed = self.model.follow_up(runner)
        self.ids[followed] = made.id
        return followed

    @rule(session=known)
    def message(self, session: model.Session) -> None:
        self._claim(session)

    def _claim(self, session: model.Session) -> model.Session | None:
        wanted = self.model.claim(session)
        with db.transaction():
            claim = session_attempts.claim(self.ids[session], str(uuid.uuid4()))
        assert (claim and claim.session.id) == (wanted and self.ids[wanted])
        assert claim is None or wanted is None or claim.attempt == wanted.attempt
        return wanted

    @rule(session=known, late=LATE)
    def beat(self, session: model.Session, late: int) -> None:
        attempt = session.attempt - late
        with self._fenced(session, attempt):
            leases.beat(AgentRunnerSession, self.ids[session], attempt)
        if late == 0 and session.state == "RUNNING":
            self.model.beat(session)

    @rule(session=known, late=LATE)
    def step(self, session: model.Session, late: int) -> None:
        attempt = session.attempt - late
        with self._fenced(session, attempt):
            progress.record(self.ids[session], attempt, [progress.Step("Edit", "a.txt")])
        if late == 0 and session.state == "RUNNING":
            self.model.step(session)

    @rule(session=known, late=LATE, state=st.sampled_from(["DONE", "DONE", "ERROR"]), changed=st.booleans())
    def finish(self, session: model.Session, late: int, state: str, changed: bool) -> None:
        attempt = session.attempt - late
        diff = f"{self.ids[session]}/{attempt}.patch" if changed else None
        outcome = Outcome(Work(result_diff_key=diff, cumulative_diff_key=diff))
        with self._fenced(session, attempt):
            session_attempts.finish(self.ids[session], attempt, SessionState(state), outcome)
        if late == 0 and session.state == "RUNNING":
            self.model.finish(session, state, diff)

    @contextlib.contextmanager
    def _fenced(self, session: model.Session, attempt: int) -> Iterator[None]:
        with raises(self.model.refusal(session, attempt)), db.transaction():
            yield

    @rule(session=known)
    def stop(self, session: model.Session) -> None:
        ended = session.state in ("DONE", "ERROR")
        with raises("session_ended" if ended else None), db.transaction():
            agent_runner_sessions.stop(self.caller(session.runner), self.ids[session.runner], self.ids[session])
        if session.is_active:
            self.model.stop(session)

    @rule(session=known, late=LATE)
    def requeue(self, session: model.Session, late: int) -> None:
        attempt = session.attempt - late
        wanted = self.model.requeue(session, attempt)
        with db.transaction():
            assert session_attempts.requeue(self.ids[session], attempt) == wanted

    @rule(session=known, late=LATE)
    def keep_work(self, session: model.Session, late: int) -> None:
        attempt = session.attempt - late
        diff = f"{self.ids[session]}/{attempt}.kept.patch"
        wanted = self.model.keep_work(session, attempt, diff)
        with db.transaction():
            work = Work(result_diff_key=diff, cumulative_diff_key=diff)
            assert session_attempts.keep_work(self.ids[session], attempt, work) == wanted

    @rule(session=known)
    def lease_ends(self, session: model.Session) -> None:
        if session.has_lease:
            write(self.ids[session], lease_expires_at=db.now(-1))
        self.model.pass_lease(session)

    @rule(session=known)
    def worker_is_lost(self, session: model.Session) -> None:
        """The worker that claims dies before its first heartbeat."""
        if claimed := self._claim(session):
            self.lease_ends(claimed)

    @rule(session=known)
    def dispatch_is_due(self, session: model.Session) -> None:
        if session.waits_for_dispatch:
            write(self.ids[session], next_dispatch_at=db.now(-1))
        self.model.pass_dispatch_wait(session)

    @rule()
    def sweep(self) -> None:
        with db.transaction(read_only=True):
            found = sweep.find_sessions()
        due = self.model.due()
        assert set(found) == {self.ids[session] for session in due}
        for session in due:
            self.repair(session)

    @rule(session=known)
    def repair(self, session: model.Session) -> None:
        """Another sweep may have been quicker, so a repair may come for a session that needs none."""
        self.model.repair(session)
        with db.transaction():
            repairs.repair(self.ids[session])

    @invariant()
    def the_record_is_as_the_model_says(self) -> None:
        with db.transaction(read_only=True):
            found = {row.id: tuple(row)[1:] for row in db.session.execute(SESSIONS)}
            runners = {row.id: tuple(row)[1:] for row in db.session.execute(RUNNERS)}
            events = db.session.execute(EVENTS).all()
        assert found == {self.ids[session]: as_row(session) for session in self.model.sessions()}
        assert runners == {self.ids[each]: (each.state, each.diff, len(each.events)) for each in self.model.runners}
        for runner in self.model.runners:
            mine = [tuple(row)[1:] for row in events if row.agent_runner_id == self.ids[runner]]
            assert mine == [(number, *event) for number, event in enumerate(runner.events, 1)]

    @invariant()
    def no_limit_is_exceeded_and_nobody_who_waits_is_forgotten(self) -> None:
        for account in self.model.accounts:
            for place in (account, *account.sites):
                assert place.most is None or self.model.running(place) <= place.most
        for session in self.model.sessions():
            assert session.waits_for_dispatch == (session.state == "NEW")
            assert session.has_lease == (session.state == "RUNNING")
        for runner in self.model.runners:
            assert sum(session.is_active for session in runner.sessions) <= 1


SESSIONS = sa.select(
    AgentRunnerSession.id,
    AgentRunnerSession.state,
    AgentRunnerSession.attempt,
    AgentRunnerSession.workers_lost,
    AgentRunnerSession.dispatches,
    AgentRunnerSession.next_dispatch_at.is_not(None),
    AgentRunnerSession.lease_expires_at.is_not(None),
    AgentRunnerSession.steps_count,
    AgentRunnerSession.result_diff_key,
    AgentRunnerSession.work_saved_at.is_not(None),
)
RUNNERS = sa.select(AgentRunner.id, AgentRunner.state, AgentRunner.diff_key, AgentRunner.last_event_seq)
EVENTS = sa.select(Event.agent_runner_id, Event.seq, Event.kind, Event.attempt).order_by(Event.seq)


def as_row(session: model.Session) -> tuple[Any, ...]:
    return (
        session.state,
        session.attempt,
        session.workers_lost,
        session.dispatches,
        session.waits_for_dispatch,
        session.has_lease,
        session.steps,
        session.diff,
        session.is_saved,
    )


@contextlib.contextmanager
def raises(code: str | None) -> Iterator[None]:
    """Expect the refusal with that code, or none."""
    if code is None:
        yield
    else:
        with pytest.raises(Conflict) as refusal:
            yield
        assert refusal.value.error_code == code


def test_whatever_happens_in_whatever_order_the_record_stays_true(
    record: sa.Engine, configure: Callable[..., None]
) -> None:
    configure(MAX_WORKERS_LOST=str(model.MOST_LOST))
    run_machine(
        Sessions,
        settings=settings(
            max_examples=EXAMPLES[record.dialect.name],
            stateful_step_count=12,
            suppress_health_check=list(HealthCheck),
        ),
    )
