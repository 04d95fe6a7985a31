"""DELETE and the end of a session at once, over and over: one of them comes first, and everything agrees on which."""

from __future__ import annotations

import concurrent.futures
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable

import sqlalchemy as sa

from app import db
from app.artifacts import store
from app.errors import Conflict
from app.models import AgentRunner, Event
from app.models.states import Scope, SessionState
from app.services import events
from app.services.artifacts import diffs
from app.services.callers import Caller
from app.services.execution import session_attempts
from app.services.execution.outcomes import Outcome, Work
from app.services.leases import Cancelled
from app.services.runners import agent_runner_sessions
from tests.matrix import FULL
from tests.services.conftest import claim, read

# SQLite lets one writer in at a time, so there is less that can be interleaved. --full tries a thousand in all.
INTERLEAVINGS = {"sqlite": 300, "postgresql": 700} if FULL else {"sqlite": 25, "postgresql": 50}
LONGEST_DELAY_SECONDS = 0.002
STEP_SECONDS = 0.0005


class Lead:
    """By how many seconds the end is held up, or the stop where it is below zero: what came first begins later the next time,
    the later the more often in a row, so that both come first on any machine."""

    seconds = 0.0
    _step = STEP_SECONDS
    _last: SessionState | None = None

    def note(self, outcome: SessionState) -> None:
        self._step = 2 * self._step if outcome == self._last else STEP_SECONDS
        self.seconds += self._step if outcome == SessionState.DONE else -self._step
        self._last = outcome


def test_a_stop_that_races_the_end_leaves_one_outcome_and_the_work(
    record: sa.Engine, ask: Callable[..., uuid.UUID], configure: Callable[..., None]
) -> None:
    number = INTERLEAVINGS[record.dialect.name]
    configure(MAX_QUEUED_SESSIONS=str(number + 1))
    lead, outcomes = Lead(), Counter[SessionState]()
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        for _ in range(number):
            outcome = race(ask(), threads, lead.seconds)
            outcomes[outcome] += 1
            lead.note(outcome)
    # A race that nearly always ends the same way is none.
    assert min(outcomes[SessionState.DONE], outcomes[SessionState.CANCELLED]) >= number / 50, outcomes


def race(session_id: uuid.UUID, threads: concurrent.futures.ThreadPoolExecutor, lead: float) -> SessionState:
    """Stop and finish the session at once; the state that both agree on."""
    claim(session_id)
    runner_id = read(session_id).agent_runner_id
    start = threading.Barrier(2)
    stopped = threads.submit(stop, runner_id, session_id, lambda: wait(start, -lead))
    finished = threads.submit(finish, runner_id, session_id, lambda: wait(start, lead))
    was_stopped, was_finished = stopped.result(), finished.result()

    session = read(session_id)
    assert was_stopped != was_finished, "one of them came first, and the answer to the other says so"
    assert session.state == (SessionState.CANCELLED if was_stopped else SessionState.DONE)
    assert session.result_diff_key is not None and session.work_saved_at is not None, "the work is kept either way"
    assert store().stat(session.result_diff_key) is not None
    with db.transaction(read_only=True):
        runner = db.session.get_one(AgentRunner, runner_id)
        payloads = db.session.scalars(
            sa.select(Event.payload).where(Event.session_id == session_id, Event.kind == events.STATE)
        )
        ends = [
            each["state"] for each in payloads if not each.get("work_saved") and each["state"] not in ("NEW", "RUNNING")
        ]
    assert ends == [session.state.value]
    assert runner.head_session_id == (session_id if was_finished else None)
    return session.state


def stop(runner_id: uuid.UUID, session_id: uuid.UUID, begin: Callable[[], None]) -> bool:
    """What DELETE does; whether it stopped anything."""
    caller = caller_of(session_id)
    begin()
    try:
        with db.transaction():
            agent_runner_sessions.stop(caller, runner_id, session_id)
    except Conflict as refused:
        assert refused.error_code == "session_ended"
        return False
    return True


def finish(runner_id: uuid.UUID, session_id: uuid.UUID, begin: Callable[[], None]) -> bool:
    """What a worker does at the end of an attempt; whether it ended the session."""
    key = diffs.attempt_key(runner_id, session_id, 1, "result")
    store().put(key, [b"a diff\n"])
    begin()
    try:
        with db.transaction():
            session_attempts.finish(session_id, 1, SessionState.DONE, Outcome(Work(result_diff_key=key)))
    except Cancelled:
        with db.transaction():
            assert session_attempts.keep_work(session_id, 1, Work(result_diff_key=key))
        with db.transaction():
            assert not session_attempts.keep_work(session_id, 1, Work(result_diff_key="another"))
        return False
    return True


def wait(start: threading.Barrier, seconds: float) -> None:
    start.wait()
    time.sleep(max(seconds, 0) + random.random() * LONGEST_DELAY_SECONDS)


def caller_of(session_id: uuid.UUID) -> Caller:
    session = read(session_id)
    return Caller(session.account_id, session.user_id, uuid.uuid4(), Scope.ADMIN)
