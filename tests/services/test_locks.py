"""Verbs that meet on the same rows wait for each other, and never in a circle."""

from __future__ import annotations

import concurrent.futures
import threading

import pytest

from app import db
from app.errors import NotFound
from app.models import AgentRunner
from app.models.states import SessionState
from app.services import lookup
from app.services.execution import session_attempts
from app.services.execution.outcomes import Outcome
from app.services.runners import purging
from tests.asking import new_runner, new_session
from tests.services.conftest import claim, read


def test_the_end_of_a_session_does_not_wait_for_a_lock_on_the_account(ask, ada):
    session_id = ask()
    claim(session_id)
    runner_id = read(session_id).agent_runner_id
    has_account = threading.Event()

    def follow_up() -> None:
        with db.transaction():
            lookup.lock_account(ada.account_id)
            has_account.set()
            new_session(ada, runner_id)

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        with db.transaction():
            lookup.lock_session(session_id)
            created = threads.submit(follow_up)
            # With SQLite nobody else begins before this has ended.
            has_account.wait(0.5)
            session_attempts.finish(session_id, 1, SessionState.DONE, Outcome())
        created.result()
    assert read(session_id).state == SessionState.DONE


def test_a_runner_that_is_being_purged_gets_no_child_that_nobody_can_have(ask, ada, site):
    runner_id = end(ask())

    def begin_with_it() -> None:
        with db.transaction():
            new_runner(ada, site.id, parent_agent_runner_id=runner_id)

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        with db.transaction():
            purging.purge(ada, runner_id)
            created = threads.submit(begin_with_it)
            # Whether it waits by then or begins later, it finds no parent.
            concurrent.futures.wait([created], 0.5)
        with pytest.raises(NotFound):
            created.result(timeout=60)


def test_a_purge_waits_for_a_child_that_is_being_created(ask, ada, site):
    runner_id = end(ask())

    def purge() -> None:
        with db.transaction():
            purging.purge(ada, runner_id)

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        with db.transaction():
            child_id = new_runner(ada, site.id, parent_agent_runner_id=runner_id).id
            purged = threads.submit(purge)
            concurrent.futures.wait([purged], 0.5)
        purged.result(timeout=60)
    with db.transaction(read_only=True):
        assert db.session.get_one(AgentRunner, child_id).parent_agent_runner_id is None
        assert db.session.get(AgentRunner, runner_id) is None


def end(session_id):
    """End a session; its runner."""
    claim(session_id)
    with db.transaction():
        session_attempts.finish(session_id, 1, SessionState.DONE, Outcome())
    return read(session_id).agent_runner_id
