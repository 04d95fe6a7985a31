"""How the events of a running attempt are recorded: in order, some at a time, and none is lost without anyone noticing."""

from __future__ import annotations

import signal
import threading
import uuid

import pytest
import sqlalchemy as sa

from app import db
from app.models import Event
from app.models.states import Scope, SessionState
from app.services import events, leases
from app.services.callers import Caller
from app.services.execution import session_attempts
from app.services.execution.session_attempts import Claim
from app.services.runners import agent_runner_sessions
from tasks.attempts import signals
from tasks.attempts.heartbeat import Heartbeat
from tasks.attempts.reporter import Reporter
from tasks.sessions import run_session
from tests.statements import counted
from tests.tasks.conftest import read, runner_of
from workers.events import Refusal, Step


@pytest.fixture
def claim(ask) -> Claim:
    session_id = ask("true")
    with db.transaction():
        claimed = session_attempts.claim(session_id, "task")
    assert claimed is not None
    return claimed


def titles(session_id: uuid.UUID) -> list[str]:
    query = sa.select(Event.payload).where(Event.session_id == session_id, Event.kind == events.STEP)
    with db.transaction(read_only=True):
        return [payload["title"] for payload in db.session.scalars(query.order_by(Event.seq))]


def stop(session_id: uuid.UUID) -> None:
    session = read(session_id)
    caller = Caller(session.account_id, session.user_id, uuid.uuid4(), Scope.ADMIN)
    with db.transaction():
        agent_runner_sessions.stop(caller, session.agent_runner_id, session_id)


def test_many_events_are_written_in_order_with_few_transactions(claim):
    with counted() as asked, Reporter(claim, Heartbeat.lifeline()) as reporter:
        for number in range(300):
            reporter.add(Step(f"Step {number}", of_agent=True))
        reporter.flush()
    assert titles(claim.session.id) == [f"Step {number}" for number in range(300)]
    assert asked.commits < 100
    session, runner = read(claim.session.id), runner_of(claim.session.id)
    assert (session.steps_count, session.current_task, runner.current_task) == (300, "Step 299", "Step 299")


def test_what_is_not_written_at_the_end_is_handed_back(claim):
    with Reporter(claim, Heartbeat.lifeline()) as reporter:
        for number in range(50):
            reporter.add(Step(str(number)))
        rest = reporter.take()
    assert [*titles(claim.session.id), *(event.title for event in rest)] == [str(number) for number in range(50)]


def test_what_waits_when_the_reporter_is_closed_is_written(claim):
    with Reporter(claim, Heartbeat.lifeline()) as reporter:
        reporter.add(Step("one"))
        reporter.add(Refusal("refused", times=2))
    assert titles(claim.session.id) == ["one", "refused"]


def test_a_refused_write_kills_the_agent_and_interrupts_the_main_thread(claim):
    stop(claim.session.id)
    lifeline = Heartbeat.lifeline()
    with signals.handled():
        signals.unblock()
        with Reporter(claim, lifeline) as reporter:
            with pytest.raises(SystemExit):
                reporter.add(Step("too late"))
                threading.Event().wait(30)
            reporter.flush()
            with pytest.raises(leases.Cancelled):
                reporter.add(Step("later still"))
    assert lifeline.has_expired and titles(claim.session.id) == []


def test_a_stop_ends_a_session_at_its_next_event_even_without_heartbeats(ask, configure):
    configure(HEARTBEAT_SECONDS="3600")
    session_id = ask("echo changed > a.txt; while true; do echo line; sleep 0.1; done")

    def stop_it() -> None:
        while "line" not in titles(session_id):
            threading.Event().wait(0.05)
        stop(session_id)

    before = signal.getsignal(signal.SIGTERM)
    stopping = threading.Thread(target=stop_it)
    stopping.start()
    run_session(str(session_id))
    stopping.join()
    assert signal.getsignal(signal.SIGTERM) == before
    session = read(session_id)
    assert (session.state, session.has_result_diff) == (SessionState.CANCELLED, True)
