"""Verbs that meet on the same rows wait for each other, and never in a circle."""

from __future__ import annotations

import concurrent.futures
import threading

from app import db
from app.models.states import SessionState
from app.services import lookup
from app.services.execution import session_attempts
from app.services.execution.outcomes import Outcome
from tests.asking import new_session
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
        created.result(timeout=10)
    assert read(session_id).state == SessionState.DONE
