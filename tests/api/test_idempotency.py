"""A POST that is repeated under the same key happens once."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import threading

import pytest
import sqlalchemy as sa

from app import db
from app.models import AgentRunner, IdempotencyKey
from app.models.states import Scope
from app.services import idempotency
from tests.api.calling import Api, created, ok, path_of, refused, session_path

KEY = {"Idempotency-Key": "order-17"}


def count(engine, model):
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(model))


@pytest.fixture
def body(make_site):
    return {"site_id": make_site()["id"], "prompt": "Say hello."}


def test_a_repeat_gets_the_first_answer_and_changes_nothing(api, body, engine, worker):
    first = api.post("/agent_runners", body, headers=KEY)
    worker.run(created(first)["latest_session_id"])
    again = api.post("/agent_runners", body, headers=KEY)
    assert again.headers["Idempotent-Replayed"] == "true" and "Idempotent-Replayed" not in first.headers
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert again.headers["Location"] == first.headers["Location"] and again.headers["X-Request-Id"]
    assert count(engine, AgentRunner) == 1


def test_another_body_under_the_same_key_is_refused(api, body):
    created(api.post("/agent_runners", body, headers=KEY))
    refused(api.post("/agent_runners", {**body, "title": "x"}, headers=KEY), 422, "idempotency_key_reused")
    created(api.post("/agent_runners", {**body, "title": "x"}, headers={"Idempotency-Key": "order-18"}))


@pytest.mark.same_on_both_databases
def test_the_body_cannot_be_found_by_guessing(api, body, engine):
    created(api.post("/agent_runners", body, headers=KEY))
    with engine.begin() as connection:
        kept = connection.scalar(sa.select(IdempotencyKey.body_digest))
        plain = hashlib.sha256(json.dumps(body).encode()).hexdigest()
        assert kept != plain
        connection.execute(sa.update(IdempotencyKey).values(body_digest=plain))
    again = api.post("/agent_runners", body, headers=KEY)
    assert again.headers["Idempotent-Replayed"] == "true", "one that the release before has stored is a repeat"


def test_a_key_is_for_one_token_and_one_path(api, ada, body, engine):
    runner = created(api.post("/agent_runners", body, headers=KEY))
    created(ada.holding(Scope.WRITE).post("/agent_runners", body, headers=KEY))
    created(api.post("/sites", {"repo_url": "https://github.com/example/x.git"}, headers=KEY))
    refused(api.post(path_of(runner, "/archive"), headers=KEY), 409, "active_session_exists")
    assert count(engine, AgentRunner) == 2 and count(engine, IdempotencyKey) == 4


@pytest.mark.same_on_both_databases
def test_without_a_key_nothing_is_kept(api, body, engine):
    assert created(api.post("/agent_runners", body))["id"] != created(api.post("/agent_runners", body))["id"]
    assert count(engine, IdempotencyKey) == 0


def test_a_refusal_is_kept_too(api, body):
    bad = {**body, "prompt": ""}
    first = api.post("/agent_runners", bad, headers=KEY)
    refused(first, 422, "invalid")
    again = api.post("/agent_runners", bad, headers=KEY)
    assert again.data == first.data and again.headers["Idempotent-Replayed"] == "true"
    refused(api.post("/agent_runners", body, headers=KEY), 422, "idempotency_key_reused")


@pytest.mark.same_on_both_databases
def test_a_repeat_gets_the_same_conflict_even_when_it_has_passed(api, body):
    runner = created(api.post("/agent_runners", body))
    path = path_of(runner, "/sessions")
    refused(api.post(path, {"prompt": "x"}, headers=KEY), 409, "active_session_exists")
    api.delete(path_of(runner))
    refused(api.post(path, {"prompt": "x"}, headers=KEY), 409, "active_session_exists")
    created(api.post(path, {"prompt": "x"}, headers={"Idempotency-Key": "order-18"}))


@pytest.mark.same_on_both_databases
def test_an_error_that_says_to_try_again_is_not_replayed(api, body, configure):
    configure(MAX_QUEUED_SESSIONS="1")
    runner = created(api.post("/agent_runners", body))
    refused(api.post("/agent_runners", body, headers=KEY), 429, "queue_full")
    api.delete(path_of(runner))
    created(api.post("/agent_runners", body, headers=KEY))


@pytest.mark.same_on_both_databases
def test_a_secret_is_not_in_a_replay_nor_in_the_database(api, engine):
    fields = {"name": "ci", "scope": "read"}
    first = created(api.post("/tokens", fields, headers=KEY))
    again = created(api.post("/tokens", fields, headers=KEY))
    assert first["token"].startswith("ar_") and again == {**first, "token": None}
    with engine.connect() as connection:
        kept = connection.execute(sa.select(IdempotencyKey.__table__)).mappings().one()
    assert first["token"] not in json.dumps({name: str(value) for name, value in kept.items()})


def test_twenty_at_once_make_one_runner(api, body, engine):
    barrier = threading.Barrier(20)

    def post(_number):
        caller = Api(api.client.application.test_client(), api.token)
        barrier.wait()
        return caller.post("/agent_runners", body, headers=KEY)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(post, range(20)))
    answered = [response for response in responses if response.status_code == 201]
    assert len({response.json["id"] for response in answered}) == 1 and count(engine, AgentRunner) == 1
    assert sum("Idempotent-Replayed" not in response.headers for response in answered) == 1
    for response in responses:
        if response.status_code != 201:
            refused(response, 409, "idempotency_in_flight")


# SQLite has one writer: there the repeat waits for the first, and is then answered as the first was.
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True, scope="session")
def test_a_repeat_of_a_request_in_flight_gets_its_own_error(api, ada, body, engine):
    with engine.connect() as connection:
        token_id = connection.scalar(sa.text("SELECT id FROM tokens"))
        values = {"id": db.new_id(), "token_id": token_id, "key": "order-17", "method": "POST", "body_digest": "0"}
        connection.execute(sa.insert(IdempotencyKey).values(**values, path="/api/v1/agent_runners"))
        refused(api.post("/agent_runners", body, headers=KEY), 409, "idempotency_in_flight")
    created(api.post("/agent_runners", body, headers=KEY))


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True, scope="session")
def test_no_other_lock_is_waited_for_so_shortly(api, ada, engine):
    with engine.connect() as connection:
        token_id = connection.scalar(sa.text("SELECT id FROM tokens"))
    with db.transaction():
        assert idempotency.begin(idempotency.Repeatable(token_id, "order-17", "POST", "/", "0", "0")) is None
        assert db.session.scalar(sa.text("SHOW lock_timeout")) == "0"


def test_after_a_day_a_key_is_forgotten(api, body, engine):
    created(api.post("/agent_runners", body, headers=KEY))
    with db.transaction():
        db.session.execute(sa.update(IdempotencyKey).values(created_at=db.now(-24 * 3600 - 5)))
    created(api.post("/agent_runners", {**body, "title": "another day"}, headers=KEY))
    with db.transaction():
        db.session.execute(sa.update(IdempotencyKey).values(created_at=db.now(-24 * 3600 - 5)))
        idempotency.forget_expired()
    assert count(engine, IdempotencyKey) == 0 and count(engine, AgentRunner) == 2


@pytest.mark.same_on_both_databases
def test_an_invalid_key_is_refused(api, body):
    for key in ("", " ", "x" * 256, "a b", "é"):
        refused(api.post("/agent_runners", body, headers={"Idempotency-Key": key}), 422, "invalid")


@pytest.mark.same_on_both_databases
def test_every_post_replays(ada, api, make_runner, make_done_runner, make_site):
    outside, claimed = ada.holding(Scope.WORKER), make_runner(site=make_site(execution="external"))
    session_token = ok(outside.patch(session_path(claimed), {"state": "RUNNING"}))["session_token"]
    assert replays(api.with_token(session_token), session_path(claimed, rest="/diff/upload_urls"), None)
    runner = make_done_runner()
    for path, body in [
        (path_of(runner, "/revert"), {"session_id": runner["latest_session_id"]}),
        (path_of(runner, "/pull_request"), None),
        (path_of(runner, "/commit"), {"target_branch": "x"}),
        (path_of(runner, "/sessions"), {"prompt": "x"}),
        ("/sites", {"repo_url": "https://github.com/example/x.git"}),
        ("/agent_runners/upload_url", {"filename": "x", "content_type": "a/b"}),
        (path_of(make_done_runner(), "/archive"), None),
    ]:
        assert replays(api, path, body), path
    assert ok(api.get(path_of(runner)))["pr_is_being_created"]


def replays(api, path, body):
    first, again = (api.post(path, body, headers=KEY) for _ in range(2))
    assert first.status_code < 300, first.text
    return "Idempotent-Replayed" in again.headers and (again.status_code, again.data) == (first.status_code, first.data)


@pytest.mark.same_on_both_databases
def test_the_stored_answer_holds_no_second_copy_of_a_long_prompt(api, make_done_runner, engine):
    path, body = path_of(make_done_runner(), "/sessions"), {"prompt": "long " * 100_000}
    first, again = (api.post(path, body, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert created(first)["prompt"] == body["prompt"] and not created(first)["prompt_truncated"]
    assert again.headers["Idempotent-Replayed"] == "true" and len(again.data) < 20_000
    assert created(again)["id"] == created(first)["id"] and created(again)["prompt_truncated"]
