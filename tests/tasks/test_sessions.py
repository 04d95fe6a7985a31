"""Running a session in this process: what a failing database and signals at bad moments do to it."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import sqlalchemy as sa

from app import db
from app.config import settings
from app.models import AgentRunnerSession, Counter, Event
from app.models.states import SessionState
from app.services import sweep
from app.services.execution import progress, repairs, session_attempts
from tasks.attempts import signals
from tasks.attempts.transactions import transact
from tasks.sessions import run_session
from tests.security.outside import python
from tests.services.conftest import write
from tests.tasks.conftest import read, runner_of
from tests.workers.engine import needs_bubblewrap
from tests.workers.repositories import git

SCRIPT = "echo changed > a.txt; for i in 1 2 3 4 5 6 7 8; do echo step $i; sleep 0.4; done"


def cut_connections(engine: sa.Engine, over: threading.Event) -> None:
    """End every connection to a Postgres again and again, as a restart does."""
    others = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid != pg_backend_pid() AND application_name = ''"
    )
    while not over.wait(0.02):
        with engine.connect() as connection:
            connection.execute(others)


def lock_out(engine: sa.Engine, over: threading.Event) -> None:
    """Hold the write lock of a SQLite database for a while, again and again."""
    while not over.wait(0.02):
        with engine.begin():
            over.wait(0.3)


def test_a_session_outlives_a_database_that_comes_and_goes(ask, record):
    session_id, over = ask(SCRIPT), threading.Event()
    disturb = cut_connections if record.dialect.name == "postgresql" else lock_out

    def disturb_once_claimed() -> None:
        state = sa.select(AgentRunnerSession.state).where(AgentRunnerSession.id == session_id)
        while not over.wait(0.02):
            with record.connect() as connection:
                if connection.scalar(state) == SessionState.RUNNING:
                    break
        threading.Timer(2.0, over.set).start()
        disturb(record, over)

    disturber = threading.Thread(target=disturb_once_claimed)
    disturber.start()
    run_session(str(session_id))
    over.set()
    disturber.join()

    session = read(session_id)
    assert (session.state, session.attempt) == (SessionState.DONE, 1), session.failure
    assert session.has_result_diff


def test_a_signal_during_a_transaction_interrupts_after_it(ask):
    session_id = ask("true")
    with db.transaction():
        assert session_attempts.claim(session_id, "task")

    def step() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        progress.record(session_id, 1, [progress.Step("Written", "before the end")])

    with signals.handled():
        signals.unblock()
        with pytest.raises(SystemExit):
            transact(step)
        os.kill(os.getpid(), signal.SIGTERM)
        transact(lambda: progress.record(session_id, 1, [progress.Step("Cleaned up", "undisturbed")]))
    assert read(session_id).steps_count == 2


def test_a_signal_before_it_is_allowed_waits(ask):
    with signals.handled():
        os.kill(os.getpid(), signal.SIGQUIT)
        time.sleep(0.01)
        with pytest.raises(SystemExit):
            signals.unblock()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_drained_session_goes_back_whenever_the_signal_comes(ask, number):
    session_id = ask(SCRIPT)
    for attempt, wait in enumerate((0.05, 0.1, 0.2, 0.4, 0.6), start=1):
        before = signal.signal(number, signal.SIG_IGN)
        timer = threading.Timer(wait, lambda: os.kill(os.getpid(), number))
        timer.start()
        run_session(str(session_id))
        timer.join()
        signal.signal(number, before)
        session = read(session_id)
        assert (session.state, session.attempt, session.workers_lost) == (SessionState.NEW, attempt, 0), wait


def test_steps_are_kept_up_to_the_settings(ask, configure):
    configure(MAX_STEPS="2")
    session_id = ask("for n in 1 2 3 4; do echo $n; sleep 0.6; done")
    run_session(str(session_id))
    with db.transaction(read_only=True):
        query = sa.select(Event).where(Event.kind == "step").order_by(Event.seq)
        steps = [step.payload["title"] for step in db.session.scalars(query)]
    assert steps[1:] == ["1", "2", "Steps are left out from here on", "2 steps were left out"]
    assert read(session_id).steps_count == len(steps)


@needs_bubblewrap
def test_what_the_proxy_refuses_is_a_step_and_counted(ask, configure):
    configure(SANDBOX="bubblewrap")
    session_id = ask(python("for again in range(3): refused('elsewhere.example:443')"))
    run_session(str(session_id))
    with db.transaction(read_only=True):
        steps = [step.payload["title"] for step in db.session.scalars(sa.select(Event).where(Event.kind == "step"))]
        counted = db.session.scalar(sa.select(Counter.value).where(Counter.name == "egress_refused"))
    assert "Network: elsewhere.example:443 was refused" in steps
    assert "Network: elsewhere.example:443 was refused 2 more times" in steps
    assert counted == 3


@pytest.mark.parametrize("name", ["lost+found", ".DS_Store", "notes-1", "1", "-"])
def test_what_else_lies_beside_the_workspaces_stays_and_ends_no_session(ask, name):
    stranger = settings().work / "workspaces" / name
    stranger.mkdir(parents=True)
    session_id = ask("true")
    run_session(str(session_id))
    assert read(session_id).state == SessionState.DONE, read(session_id).failure
    assert stranger.is_dir()


def test_a_worker_that_cannot_beat_in_time_counts_as_lost(ask, configure):
    """A session that keeps its worker from it would else begin for ever."""
    configure(LEASE_SECONDS="2", HEARTBEAT_SECONDS="3600")
    session_id = ask("sleep 60")
    run_session(str(session_id))
    session = read(session_id)
    assert (session.state, session.attempt) == (SessionState.RUNNING, 1), "it is nobody's, until its lease has ended"
    eventually_due(session_id)
    with db.transaction():
        repairs.repair(session_id)
    assert (read(session_id).state, read(session_id).workers_lost) == (SessionState.NEW, 1)


def eventually_due(session_id):
    for _ in range(200):
        with db.transaction(read_only=True):
            if session_id in sweep.find_sessions():
                return
        time.sleep(0.05)
    raise AssertionError("its lease never ends")


def test_a_title_that_a_caller_gave_meanwhile_stays(ask):
    session_id = ask("true")
    write(session_id, title="My name for it")
    run_session(str(session_id))
    assert (read(session_id).state, read(session_id).title) == (SessionState.DONE, "My name for it")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_database_that_takes_no_writes_for_a_while_is_unavailable(ask):
    """As a server does that was a primary until now."""
    session_id, tries = ask("true"), []

    def write_title():
        tries.append(None)
        if len(tries) < 3:
            db.session.execute(sa.text("SET TRANSACTION READ ONLY"))
        db.session.execute(sa.update(AgentRunnerSession).values(title="written"))

    transact(write_title)
    assert read(session_id).title == "written" and len(tries) == 3


def test_a_site_without_a_default_branch_takes_that_of_the_remote_at_the_first_fetch(ask, tmp_path):
    git(tmp_path / "origin", "branch", "--move", "main", "trunk")
    session_id, other_id = ask("git branch --show-current > a.txt"), ask("true")
    assert runner_of(session_id).branch is runner_of(session_id).site.default_branch is None
    run_session(str(session_id))
    runner = runner_of(session_id)
    assert (runner.branch, runner.site.default_branch, runner.site.protected) == ("trunk", "trunk", ["trunk"])
    run_session(str(other_id))
    assert runner_of(other_id).branch == "trunk"
    assert runner_of(ask("true")).branch == "trunk"


def test_the_default_branch_is_looked_up_where_another_branch_is_named(ask, tmp_path):
    git(tmp_path / "origin", "branch", "topic")
    session_id = ask("true", branch="topic")
    run_session(str(session_id))
    assert (runner_of(session_id).branch, runner_of(session_id).site.default_branch) == ("topic", "main")
