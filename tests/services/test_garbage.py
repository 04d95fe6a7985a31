"""Stored objects that nothing refers to are deleted once they are old, and nothing else is."""

from __future__ import annotations

import datetime
import os
import uuid
from collections.abc import Callable

import pytest

from app import artifacts, db
from app.config import settings
from app.models import AgentRunner, SessionFile
from app.models.states import SessionState
from app.services import diffs, execution, garbage, uploads
from tests.services.conftest import claim, read

TWO_DAYS = datetime.timedelta(days=2)


def store(key: str, age: datetime.timedelta = TWO_DAYS) -> str:
    artifacts.store().put(key, [b"x"])
    stored_at = (datetime.datetime.now() - age).timestamp()
    os.utime(settings().artifacts / key, (stored_at, stored_at))
    return key


def is_stored(key: str) -> bool:
    return artifacts.store().size(key) is not None


def collect() -> int:
    deleted = 0
    for keys in garbage.find_unreferenced():
        with db.transaction(read_only=True):
            deleted += garbage.delete(keys)
    return deleted


def test_what_a_lost_attempt_stored_goes_and_what_a_session_refers_to_stays(ask: Callable[..., uuid.UUID]) -> None:
    session_id = ask()
    claim(session_id)
    runner_id = read(session_id).agent_runner_id
    lost, kept = (store(diffs.attempt_key(runner_id, session_id, attempt, "result")) for attempt in (0, 1))
    with db.transaction():
        execution.finish(session_id, 1, SessionState.DONE, {"result_diff_key": kept})
    assert collect() == 1
    assert (is_stored(lost), is_stored(kept)) == (False, True)


@pytest.mark.parametrize("held_by", ["runner", "upload of a session"])
def test_what_something_else_refers_to_stays(ask: Callable[..., uuid.UUID], held_by: str) -> None:
    session_id = ask()
    runner_id = read(session_id).agent_runner_id
    key = store(f"{diffs.RUNNERS if held_by == 'runner' else uploads.PREFIX}/{uuid.uuid4()}/a")
    with db.transaction():
        if held_by == "runner":
            db.session.get_one(AgentRunner, runner_id).diff_key = key
        else:
            db.session.add(SessionFile(session_id=session_id, file_key=key))
    assert collect() == 0 and is_stored(key)


def test_what_is_young_stays_because_a_row_may_be_about_to_refer_to_it(ask: Callable[..., uuid.UUID]) -> None:
    young = store(f"{uploads.PREFIX}/{uuid.uuid4()}/a", datetime.timedelta(hours=23))
    assert collect() == 0 and is_stored(young)


def test_what_came_to_be_referred_to_after_it_was_found_stays(ask: Callable[..., uuid.UUID]) -> None:
    key = store(f"{uploads.PREFIX}/{uuid.uuid4()}/a")
    found = list(garbage.find_unreferenced())
    assert found == [[key]]
    session_id = ask()
    with db.transaction():
        db.session.add(SessionFile(session_id=session_id, file_key=key))
    with db.transaction(read_only=True):
        assert garbage.delete(found[0]) == 0
    assert is_stored(key)


def test_what_a_killed_process_had_begun_to_store_goes(ask: Callable[..., uuid.UUID]) -> None:
    store(f"{diffs.SESSIONS}/{uuid.uuid4()}/.{uuid.uuid4().hex}.draft")
    assert collect() == 1
