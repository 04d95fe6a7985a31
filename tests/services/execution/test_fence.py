"""What an attempt may write to its session. The rules that publications share are in `tests/services/test_leases.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from app import db
from app.models import AgentRunnerSession, Event
from app.models.states import SessionState, Stage
from app.services import events, leases
from app.services.execution import progress, session_attempts
from app.services.execution.outcomes import Outcome, Work
from app.services.runners import agent_runner_sessions
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tests.services.conftest import claim, read, write

KEYS = {"result_diff_key": "a/result.patch", "cumulative_diff_key": "a/cumulative.patch"}
WRITES: dict[str, Callable[[Any, int], Any]] = {
    "beat": lambda session_id, attempt: leases.beat(AgentRunnerSession, session_id, attempt),
    "record_base": lambda session_id, attempt: progress.record(session_id, attempt, [progress.Base("a" * 40, "main")]),
    "record_stage": lambda session_id, attempt: progress.record(session_id, attempt, [Stage.AGENT]),
    "record_step": lambda session_id, attempt: progress.record(session_id, attempt, [progress.Step("x", "y")]),
    "record_usage": lambda session_id, attempt: progress.record(
        session_id, attempt, [progress.Usage({"input_tokens": 1})]
    ),
    "finish": lambda session_id, attempt: session_attempts.finish(session_id, attempt, SessionState.DONE, Outcome()),
}


def do(name, session_id, attempt):
    with db.transaction():
        return WRITES[name](session_id, attempt)


def test_writes_of_an_earlier_attempt_change_nothing(ask):
    session_id = ask()
    assert claim(session_id)
    write(session_id, lease_expires_at=db.now(-1))
    assert claim(session_id).attempt == 2
    before = read(session_id)
    for name in WRITES:
        with pytest.raises(leases.LeaseLost):
            do(name, session_id, 1)
        after = read(session_id)
        shown = (after.state, after.attempt, after.steps_count, after.usage, after.reported_stage)
        assert shown == ("RUNNING", 2, 1, None, before.reported_stage), name
        assert after.lease_expires_at == before.lease_expires_at and after.base_sha is None, name
    for name in WRITES:
        do(name, session_id, 2)
    assert read(session_id).state == SessionState.DONE


def test_writes_to_a_stopped_session_raise_cancelled(ask, ada):
    session_id = ask()
    attempt = claim(session_id).attempt
    with db.transaction():
        agent_runner_sessions.stop(ada, read(session_id).agent_runner_id, session_id)
    for name in WRITES:
        with pytest.raises(leases.Cancelled):
            do(name, session_id, attempt)
        assert read(session_id).state == SessionState.CANCELLED, name
    with db.transaction(read_only=True):
        assert session_attempts.is_cancelled(session_id, attempt) and not session_attempts.is_cancelled(
            session_id, attempt + 1
        )


def test_a_lost_worker_is_replaced_until_three_were_lost(ask):
    session_id = ask()
    for attempt in (1, 2, 3):
        assert claim(session_id).attempt == attempt
        write(session_id, lease_expires_at=db.now(-1))
    assert claim(session_id) is None
    session = read(session_id)
    assert session.state == SessionState.ERROR and session.failure["code"] == "worker_lost"
    assert session.workers_lost == 3 and session.attempt == 3


@pytest.mark.same_on_both_databases
def test_a_drained_worker_requeues_its_session_without_being_counted_as_lost(ask):
    session_id = ask()
    claim(session_id)
    with db.transaction():
        assert session_attempts.requeue(session_id, 1)
    assert read(session_id).state == SessionState.NEW and read(session_id).workers_lost == 0
    with db.transaction():
        assert not session_attempts.requeue(session_id, 1)
    assert claim(session_id).attempt == 2
    assert said(session_id) == "The worker of attempt 1 was stopped and requeued the session. This is attempt 2."


@pytest.mark.same_on_both_databases
def test_a_session_that_is_started_again_says_what_came_before(ask):
    session_id = ask()
    claim(session_id)
    write(session_id, lease_expires_at=db.now(-1))
    assert claim(session_id).attempt == 2
    assert said(session_id) == "The worker of attempt 1 was lost. This is attempt 2."
    with db.transaction():
        assert session_attempts.requeue(session_id, 2)
    assert claim(session_id).attempt == 3
    both = "Of 2 earlier attempts, 1 lost their worker; the others were requeued."
    assert said(session_id) == f"{both} This is attempt 3."


def said(session_id):
    """The message of the newest step."""
    steps = sa.select(Event.payload).where(Event.session_id == session_id, Event.kind == events.STEP)
    with db.transaction(read_only=True):
        return db.session.scalars(steps.order_by(Event.seq.desc())).first()["message"]


def test_a_limit_of_concurrent_sessions_leaves_the_next_one_waiting(ask, ada, site):
    with db.transaction():
        sites.update(ada, site.id, SiteFields(max_concurrent_sessions=1))
    first, second = ask(), ask()
    assert claim(first) and claim(second) is None
    assert read(second).state == SessionState.NEW
    do("finish", first, 1)
    assert claim(second)


def test_work_is_kept_once_after_a_stop_by_its_own_attempt(ask, ada):
    session_id = ask()
    attempt = claim(session_id).attempt
    runner_id = read(session_id).agent_runner_id

    def keep(by=attempt, **fields):
        with db.transaction():
            return session_attempts.keep_work(session_id, by, Work(**{**KEYS, **fields}))

    assert not keep()
    with db.transaction():
        agent_runner_sessions.stop(ada, runner_id, session_id)
    assert not keep(by=attempt + 1)
    assert keep(usage={"input_tokens": 3})
    assert not keep(result_diff_key="other")
    session = read(session_id)
    assert (session.state, session.result_diff_key) == (SessionState.CANCELLED, KEYS["result_diff_key"])
    assert session.usage == {"input_tokens": 3} and session.work_saved_at is not None


@pytest.mark.same_on_both_databases
def test_work_is_not_marked_as_saved_if_no_diff_could_be_stored(ask):
    session_id = ask()
    claim(session_id)
    write(session_id, state=SessionState.CANCELLED, done_at=db.now())
    with db.transaction():
        assert not session_attempts.keep_work(session_id, 1, Work(usage={"input_tokens": 3}))
    session = read(session_id)
    assert session.usage == {"input_tokens": 3} and session.work_saved_at is None


@pytest.mark.same_on_both_databases
def test_after_done_there_is_nothing_left_to_keep(ask):
    session_id = ask()
    claim(session_id)
    do("finish", session_id, 1)
    with db.transaction():
        assert not session_attempts.keep_work(session_id, 1, Work(**KEYS))
    assert read(session_id).result_diff_key is None


def test_the_last_attempt_of_a_session_is_found_running_and_then_without_work_until_that_is_kept(ask):
    running, stopped, waiting = ask(), ask(), ask()
    attempts = {(str(session_id), number) for session_id in (running, waiting, stopped) for number in (1, 2)}
    claim(running)
    claim(stopped)
    assert found(session_attempts.find_running, attempts) == {running, stopped}
    assert found(session_attempts.find_without_work, attempts) == set()
    write(stopped, state=SessionState.CANCELLED)
    assert found(session_attempts.find_running, attempts) == {running}
    assert found(session_attempts.find_without_work, attempts) == {stopped}
    assert found(session_attempts.find_running, set()) == found(session_attempts.find_without_work, set()) == set()
    with db.transaction():
        assert session_attempts.keep_work(stopped, 1, Work(**KEYS))
    assert found(session_attempts.find_without_work, attempts) == set()


def found(find, attempts):
    """The sessions whose first attempt is found."""
    with db.transaction(read_only=True):
        claims = find(attempts)
    assert all(each.attempt == 1 for each in claims)
    return {each.session.id for each in claims}
