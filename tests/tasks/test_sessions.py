"""Running a session in this process: what a failing database and signals at bad moments do to it."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
import uuid

import pytest
import sqlalchemy as sa

from app import artifacts, db
from app.config import settings
from app.errors import TooMany
from app.models import AgentRunnerSession, Counter, Event, Site
from app.models.states import BudgetPeriod, Scope, SessionState, VariableStage
from app.services import sweep
from app.services.budgets import budgets
from app.services.budgets.budgets import BudgetFields, Whose
from app.services.callers import Caller
from app.services.execution import progress, repairs, scheduling, session_attempts
from app.services.runners import agent_runners
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from app.services.variables import variables
from app.services.variables.variables import VariableFields
from tasks.attempts import signals
from tasks.attempts.reporter import Reporter
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


def test_a_drained_session_goes_back_whenever_the_signal_comes(ask):
    session_id = ask(f"{SCRIPT}; sleep 300")

    def signal_once_claimed(attempt: int, wait: float, number: int) -> None:
        while (read(session_id).state, read(session_id).attempt) != (SessionState.RUNNING, attempt):
            time.sleep(0.005)
        time.sleep(wait)
        os.kill(os.getpid(), number)

    for attempt, wait in enumerate((0, 0.05, 0.1, 0.2, 0.4, 0.6), start=1):
        # Both are handled alike.
        number = (signal.SIGTERM, signal.SIGQUIT)[attempt % 2]
        before = signal.signal(number, signal.SIG_IGN)
        signalling = threading.Thread(target=signal_once_claimed, args=[attempt, wait, number])
        signalling.start()
        run_session(str(session_id))
        signalling.join()
        signal.signal(number, before)
        session = read(session_id)
        assert (session.state, session.attempt, session.workers_lost) == (SessionState.NEW, attempt, 0), wait


def test_steps_are_kept_up_to_the_settings(ask, configure):
    configure(MAX_STEPS="2")
    # A worker that is held up for as long makes one step of two lines.
    session_id = ask("for n in 1 2 3 4; do echo $n; sleep 3; done")
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


def test_a_copy_of_a_repository_that_was_damaged_is_a_step_and_counted(ask):
    run_session(str(ask("true")))
    [mirror] = [path for path in (settings().work / "mirrors").iterdir() if path.is_dir()]
    (mirror / "config").unlink()
    session_id = ask("true")
    run_session(str(session_id))
    assert read(session_id).state == SessionState.DONE, read(session_id).failure
    with db.transaction(read_only=True):
        steps = [step.payload["title"] for step in db.session.scalars(sa.select(Event).where(Event.kind == "step"))]
        assert steps.count("The worker's copy of the repository was recreated") == 1
        assert db.session.scalar(sa.select(Counter.value).where(Counter.name == "mirrors_recreated")) == 1


def test_what_else_lies_beside_the_workspaces_stays_and_ends_no_session(ask):
    strangers = [settings().work / "workspaces" / name for name in ("lost+found", ".DS_Store", "notes-1", "1", "-")]
    for stranger in strangers:
        stranger.mkdir(parents=True)
    session_id = ask("true")
    run_session(str(session_id))
    assert read(session_id).state == SessionState.DONE, read(session_id).failure
    assert all(stranger.is_dir() for stranger in strangers)


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
    for _ in range(6000):
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


def test_a_repository_that_could_not_be_reached_is_noted_until_it_can_be(ask, tmp_path):
    failing, fine = ask("true"), ask("true")
    (tmp_path / "origin").rename(tmp_path / "away")
    run_session(str(failing))
    assert read(failing).state == SessionState.ERROR and runner_of(failing).site.fetch_failed_at is not None
    (tmp_path / "away").rename(tmp_path / "origin")
    run_session(str(fine))
    assert read(fine).state == SessionState.DONE and runner_of(fine).site.fetch_failed_at is None


def test_each_stage_gets_its_own_variables_and_no_secret_is_stored(ask, tmp_path):
    """The agent gets a key of the account in the place of the operator's, and the setup command no key of an agent."""
    session_id = ask('test "$BOTH" = both-in-both-stages && test -z "$SETUP" && echo "$MODEL_KEY, $MODE" | tee a.txt')
    site_id = runner_of(session_id).site_id
    ada = Caller(read(session_id).account_id, read(session_id).user_id, uuid.uuid4(), Scope.ADMIN)
    setup = 'echo "$SETUP"; test "$BOTH" = both-in-both-stages && test -n "$SETUP" && test -z "$MODEL_KEY"'
    given = [
        ("SETUP", "only-for-setup", VariableStage.SETUP, True),
        ("BOTH", "both-in-both-stages", VariableStage.BOTH, True),
        ("MODEL_KEY", "key-of-the-account", VariableStage.AGENT, True),
        ("MODE", "development", VariableStage.AGENT, False),
    ]
    with db.transaction():
        sites.update(ada, site_id, SiteFields(setup_command=setup))
        for name, value, stage, secret in given:
            of_site = site_id if name == "SETUP" else None
            fields = VariableFields(value=value, stage=stage, secret=secret)
            variables.create(ada, of_site, name, fields)
    run_session(str(session_id))

    session = read(session_id)
    assert session.state == SessionState.DONE, session.failure
    assert session.contains_secret and session.result == "[redacted], development"
    with db.transaction(read_only=True):
        recorded = str([event.payload for event in db.session.scalars(sa.select(Event))])
    assert "[redacted]" in recorded and "only-for-setup" not in recorded and "key-of-the-account" not in recorded


def test_a_first_session_starts_with_the_diff_of_its_runner(ask) -> None:
    known = runner_of(ask("true"))
    caller = Caller(known.account_id, known.user_id, uuid.uuid4(), Scope.WRITE)
    mine = "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1,2 @@\n a\n+mine\n"
    prepared = agent_runners.prepare(caller, known.site_id, [], mine)
    # The session of `known` is the older one, so it runs first.
    run_session(str(known.latest_session_id))
    session_id = ask("test $(tail -n 1 a.txt) = mine; echo agent >> a.txt", prepared=prepared)
    run_session(str(session_id))
    session = read(session_id)
    assert (session.state, session.agent_runner_id) == (SessionState.DONE, prepared.runner_id), session.failure
    stored = {
        key: b"".join(artifacts.store().read(key)).decode()
        for key in (session.result_diff_key, session.cumulative_diff_key)
    }
    assert "+mine" not in stored[session.result_diff_key] and "+agent" in stored[session.result_diff_key]
    assert "+mine\n+agent" in stored[session.cumulative_diff_key]


def test_a_session_for_which_nothing_is_left_of_a_budget_is_ended_when_it_is_claimed(ask, tmp_path):
    session_id = ask(f"touch {tmp_path}/ran")
    ada = Caller(read(session_id).account_id, read(session_id).user_id, uuid.uuid4(), Scope.ADMIN)
    with db.transaction():
        budgets.create(ada, Whose(), BudgetPeriod.DAY, BudgetFields(max_tokens=0))
    run_session(str(session_id))

    assert (read(session_id).state, read(session_id).failure["code"]) == (SessionState.ERROR, "budget_limit")
    assert not (tmp_path / "ran").exists()


def test_a_session_that_uses_up_a_budget_is_ended_in_mid_run_and_its_work_is_kept(ask, configure, tmp_path):
    configure(AGENTS="shell,scripted")
    usage = '{"type": "usage", "input_tokens": 900, "output_tokens": 200}'
    session_id = ask(f"echo kept > a.txt; echo '{usage}'; sleep 60; touch {tmp_path}/went-on", agent="scripted")
    ada = Caller(read(session_id).account_id, read(session_id).user_id, uuid.uuid4(), Scope.ADMIN)
    with db.transaction():
        budgets.create(ada, Whose(), BudgetPeriod.DAY, BudgetFields(max_tokens=1000))
    run_session(str(session_id))

    session = read(session_id)
    assert (session.state, session.failure["code"]) == (SessionState.ERROR, "budget_limit")
    assert session.has_result_diff and session.usage["input_tokens"] == 900
    assert not (tmp_path / "went-on").exists()
    with pytest.raises(TooMany):
        ask("true")


def test_a_session_whose_last_event_uses_up_a_budget_is_done(ask, configure, monkeypatch):
    """It has nothing left to spend, and it must not go on as RUNNING either."""
    configure(AGENTS="shell,scripted")
    # All events after the first one are written together with the outcome.
    monkeypatch.setattr(Reporter, "INTERVAL_SECONDS", 60.0)
    session_id = ask('echo kept > a.txt; echo \'{"type": "usage", "input_tokens": 5}\'', agent="scripted")
    ada = Caller(read(session_id).account_id, read(session_id).user_id, uuid.uuid4(), Scope.ADMIN)
    with db.transaction():
        budgets.create(ada, Whose(), BudgetPeriod.MONTH, BudgetFields(max_tokens=5))
    run_session(str(session_id))
    assert (read(session_id).state, read(session_id).has_result_diff) == (SessionState.DONE, True)
    with pytest.raises(TooMany):
        ask("true")


def test_a_session_that_waited_while_a_budget_was_used_up_does_not_start(ask, configure, tmp_path):
    configure(AGENTS="shell,scripted")
    first, second = ask('echo \'{"type": "usage", "input_tokens": 5}\'', agent="scripted"), ask(f"touch {tmp_path}/ran")
    ada = Caller(read(first).account_id, read(first).user_id, uuid.uuid4(), Scope.ADMIN)
    with db.transaction():
        budgets.create(ada, Whose(), BudgetPeriod.MONTH, BudgetFields(max_tokens=5))
    run_session(str(first))
    run_session(str(second))
    assert read(second).failure["code"] == "budget_limit" and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("where", ["token", "variable"])
def test_a_credential_of_another_key_is_named_with_a_remedy(ask, configure, where):
    session_id = ask("true")
    session = read(session_id)
    ada = Caller(session.account_id, session.user_id, uuid.uuid4(), Scope.ADMIN)
    with db.transaction():
        site_id = runner_of(session_id).site_id
        if where == "token":
            sites.update(ada, site_id, SiteFields(access_token="the-token-of-the-forge"))
        else:
            variables.create(ada, site_id, "NPM_TOKEN", VariableFields(value="correct-horse"))
    configure(SECRET_KEY="another key for tests, which is long enough")
    run_session(str(session_id))
    failure = read(session_id).failure
    assert (failure["code"], failure["retryable"]) == ("secret_key_changed", False)
    assert "AGENT_RUNNERS_SECRET_KEY" in failure["message"]
    assert {"token": "access_token", "variable": "NPM_TOKEN"}[where] in failure["message"]


def test_a_session_leaves_its_place_while_another_process_fetches_its_repository_for_long(ask, configure, monkeypatch):
    monkeypatch.setattr(scheduling, "SLOW_FETCH_SECONDS", 0.2)
    first, second = ask("true"), ask("true")
    folder = settings().work / "mirrors"
    folder.mkdir(parents=True)
    with open(folder / f"{runner_of(first).site_id}.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run_session(str(first))
        assert (read(first).state, read(first).attempt, read(first).workers_lost) == (SessionState.NEW, 1, 0)
        with db.transaction():
            assert session_attempts.claim(first, "task")
            assert scheduling.find_next() is None, "one of the site waits in a worker, and the other one in the queue"
    write(first, state=SessionState.DONE)
    run_session(str(second))
    assert read(second).state == SessionState.DONE
    with db.transaction(read_only=True):
        assert db.session.get_one(Site, runner_of(second).site_id).fetch_failed_at is None
