"""Stored objects that nothing refers to are deleted once they are old, and nothing else is."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from app import artifacts, db
from app.models import AgentRunner, AgentRunnerSession, SessionFile
from app.models.states import SessionState
from app.services.accounts import storage
from app.services.artifacts import diff_index, diffs, garbage, lfs_objects, uploads
from app.services.execution import progress, session_attempts
from app.services.execution.outcomes import Outcome, Work
from tests.services.conftest import claim, read
from tests.stores import BusyStore, is_stored, make_older

HOURS = 3600.0


def store(key: str, seconds: float = 48 * HOURS) -> str:
    artifacts.store().put(key, [b"x"])
    return make_older(key, seconds)


def test_objects_of_a_lost_attempt_are_deleted_and_referenced_ones_kept(ask: Callable[..., uuid.UUID]) -> None:
    session_id = ask()
    claim(session_id)
    runner_id = read(session_id).agent_runner_id
    lost, kept = (store(diffs.attempt_key(runner_id, session_id, attempt, "result")) for attempt in (0, 1))
    with db.transaction():
        session_attempts.finish(session_id, 1, SessionState.DONE, Outcome(Work(result_diff_key=kept)))
    assert garbage.collect() == 1
    assert (is_stored(lost), is_stored(kept)) == (False, True)


def test_an_index_is_deleted_with_its_diff_and_no_sooner(ask: Callable[..., uuid.UUID]) -> None:
    runner_id = read(ask()).agent_runner_id
    keys = [diffs.put(f"{diffs.RUNNERS}/{runner_id}/{uuid.uuid4()}", lambda: [b"a diff\n"]) for _ in range(2)]
    stored = [(make_older(key, 48 * HOURS), make_older(diff_index.key_of(key), 48 * HOURS)) for key in keys]
    with db.transaction():
        db.session.get_one(AgentRunner, runner_id).diff_key = keys[1]
    assert garbage.collect() == 2
    assert [[is_stored(key) for key in both] for both in stored] == [[False, False], [True, True]]
    with db.transaction():
        db.session.get_one(AgentRunner, runner_id).diff_key = None
    assert garbage.collect() == 2
    assert not any(is_stored(key) for key in stored[1])


@pytest.mark.parametrize("held_by", ["runner", "upload of a session"])
def test_an_object_that_another_row_refers_to_is_kept(ask: Callable[..., uuid.UUID], held_by: str) -> None:
    session_id = ask()
    runner_id = read(session_id).agent_runner_id
    key = store(f"{diffs.RUNNERS if held_by == 'runner' else uploads.PREFIX}/{uuid.uuid4()}/a")
    with db.transaction():
        if held_by == "runner":
            db.session.get_one(AgentRunner, runner_id).diff_key = key
        else:
            db.session.add(SessionFile(session_id=session_id, file_key=key))
    assert garbage.collect() == 0 and is_stored(key)


@pytest.mark.same_on_both_databases
def test_a_young_object_is_kept_because_a_row_may_be_about_to_refer_to_it(ask: Callable[..., uuid.UUID]) -> None:
    young = store(f"{uploads.PREFIX}/{uuid.uuid4()}/a", 23 * HOURS)
    assert garbage.collect() == 0 and is_stored(young)


def test_an_object_that_was_referenced_after_it_was_found_is_kept(
    ask: Callable[..., uuid.UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store(f"{uploads.PREFIX}/{uuid.uuid4()}/a")

    def refer(found: str) -> None:
        with db.transaction():
            db.session.add(SessionFile(session_id=session_id, file_key=found))

    session_id = ask()
    BusyStore(on_list=refer).use(monkeypatch)
    assert garbage.collect() == 0 and is_stored(key)


@pytest.mark.same_on_both_databases
def test_an_object_that_was_stored_again_after_it_was_found_is_kept(
    ask: Callable[..., uuid.UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store(lfs_objects.key_of(read(ask()).agent_runner_id, "0" * 64))
    BusyStore(on_list=lambda found: store(found, 0)).use(monkeypatch)
    assert garbage.collect() == 0 and is_stored(key)


@pytest.mark.same_on_both_databases
def test_a_key_that_cannot_be_deleted_does_not_keep_others(
    ask: Callable[..., uuid.UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [store(f"{uploads.PREFIX}/{uuid.uuid4()}/a") for _ in range(3)]

    def refuse(key: str) -> None:
        if key == keys[1]:
            raise PermissionError("no")

    BusyStore(on_delete=refuse).use(monkeypatch)
    assert garbage.collect() == 2
    assert [is_stored(key) for key in keys] == [False, True, False]


@pytest.mark.same_on_both_databases
def test_collecting_ends_when_the_store_deletes_nothing(
    ask: Callable[..., uuid.UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        store(f"{uploads.PREFIX}/{number}/a")
    asked = []

    def fail(key: str) -> None:
        asked.append(key)
        raise artifacts.StoreUnavailable("unavailable")

    BusyStore(on_delete=fail).use(monkeypatch)
    assert garbage.collect() == 0
    assert 1 <= len(asked) < 100


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_no_transaction_is_open_while_the_store_deletes(
    ask: Callable[..., uuid.UUID], record: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres would end it after half a minute."""
    for _ in range(3):
        store(f"{uploads.PREFIX}/{uuid.uuid4()}/a")
    query = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
    )
    idle = []

    def look(key: str) -> None:
        with record.connect() as connection:
            idle.append(connection.scalar(query))

    BusyStore(on_delete=look).use(monkeypatch)
    assert garbage.collect() == 3
    assert idle == [0, 0, 0]


def test_what_each_account_stores_is_measured(ask: Callable[..., uuid.UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    session_id = ask()
    session = read(session_id)
    claim(session_id)
    with db.transaction():
        progress.record(session_id, 1, [progress.Step("title", "message"), progress.Step("größe", "")])
    with db.transaction():
        session_attempts.finish(session_id, 1, SessionState.DONE, Outcome(result="result"))
    texts = len(session.prompt) + len("titlemessage") + 7 + len("result")
    others = uuid.uuid4()
    for key, size in (
        (f"{uploads.PREFIX}/{session.account_id}/{uuid.uuid4()}/a", 300),
        (f"{uploads.PREFIX}/{others}/{uuid.uuid4()}/a", 5000),
        (f"{uploads.PREFIX}/no-account/a", 7000),
        (f"{diffs.SESSIONS}/{session.agent_runner_id}/{session_id}/1/result.patch", 20),
        (f"{diff_index.FOLDER}/{diffs.SESSIONS}/{session.agent_runner_id}/{session_id}/1/result.patch", 1),
    ):
        artifacts.store().put(key, [b"x" * size])
    store(f"{uploads.PREFIX}/{session.account_id}/{uuid.uuid4()}/old", 48 * HOURS)

    def upload_meanwhile(_key: str) -> None:
        with db.transaction():
            storage.reserve(session.account_id, 10)

    BusyStore(on_list=upload_meanwhile).use(monkeypatch)
    assert garbage.collect() == 1
    with db.transaction(read_only=True):
        assert storage.every_account()[session.account_id] == 321 + texts + 6 * 10
    assert garbage.collect() == 0
    with db.transaction(read_only=True):
        assert storage.every_account()[session.account_id] == 321 + texts + 5 * 10


def test_sessions_of_earlier_releases_are_measured_when_they_have_ended(ask: Callable[..., uuid.UUID]) -> None:
    ended, active = ask(), ask()
    claim(ended)
    with db.transaction():
        progress.record(ended, 1, [progress.Step("title", "größe")])
    with db.transaction():
        session_attempts.finish(ended, 1, SessionState.DONE, Outcome(result="result"))
    size = read(ended).text_bytes
    assert size == len(read(ended).prompt) + len("title") + 7 + len("result")
    with db.transaction():
        db.session.execute(sa.update(AgentRunnerSession).values(text_bytes=0))
    garbage.collect()
    assert (read(ended).text_bytes, read(active).text_bytes) == (size, 0)
    with db.transaction(read_only=True):
        assert storage.every_account()[read(ended).account_id] == size
