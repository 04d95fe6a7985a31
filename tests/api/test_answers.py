"""What every answer shares: the error shape, request ids, headers; and what is logged about it."""

from __future__ import annotations

import json
import logging
import socket
import time

import pytest
import sqlalchemy as sa

from app import db, queue
from app.api import presenters
from app.logs import configure_logging
from tests.api.calling import NOBODY, created, ok, path_of, refused

pytestmark = pytest.mark.same_on_both_databases


def test_an_unknown_route_answers_in_the_one_shape(api):
    body = refused(api.get("/nothing/here"), 404, "route_not_found")
    assert "/api/v1/nothing/here" in body["message"] and "/api/v1/docs" in body["message"]
    refused(api.get("/agent_runners/"), 404, "route_not_found")


def test_a_method_that_is_not_allowed_gets_the_allowed_ones(api):
    response = api("PUT", "/agent_runners")
    refused(response, 405, "method_not_allowed")
    assert {"GET", "POST"} <= set(response.headers["Allow"].split(", "))
    assert "does not accept PUT" in response.json["message"]


@pytest.mark.parametrize("path", ["/docs", "/api", "/api/v1", "/api/v1/"])
def test_common_addresses_redirect_to_the_docs(api, path):
    response = api.client.get(path)
    assert (response.status_code, response.headers["Location"]) == (302, "/api/v1/docs")


NO_IDS = ["12", "not-a-uuid", "%00", "{0197c1de-0000-7000-8000-000000000001}"]


def test_a_malformed_id_gets_the_404_of_its_resource(api, make_runner):
    runner = make_runner()
    for bad in NO_IDS:
        for method, path, error_code in [
            ("GET", f"/agent_runners/{bad}", "agent_runner_not_found"),
            ("DELETE", f"/agent_runners/{bad}/sessions/{bad}", "agent_runner_not_found"),
            ("GET", f"/agent_runners/{runner['id']}/sessions/{bad}", "session_not_found"),
            ("GET", f"/agent_runners/{runner['id']}/sessions/{bad}/events", "session_not_found"),
            ("GET", f"/sites/{bad}", "site_not_found"),
            ("DELETE", f"/tokens/{bad}", "token_not_found"),
        ]:
            refused(api(method, path), 404, error_code)


REASONS = [
    ({"prompt": None}, "prompt: must not be null"),
    ({"prompt": 5}, "prompt: must be text"),
    ({"prompt": " "}, "prompt: must not be blank"),
    ({"title": "\u200b\u2060 \ufeff"}, "title: must not be blank"),
    ({"mode": "yolo"}, "mode: must be one of normal, ask, plan"),
    ({"limits": {"max_tokens": 0}}, "limits.max_tokens: must be from 1 to 9007199254740991"),
    ({"limits": []}, "limits: must be an object"),
    ({"file_keys": ["x", 1]}, "file_keys[1]: must be text"),
    ({"titel": "x"}, "titel: is not a field of this body"),
    ({"branch": "", "sha": "x"}, "branch: must have 1 to 255 characters (and 1 more, see errors)"),
]


def test_the_message_of_a_422_is_the_first_reason_in_words(api):
    for fields, message in REASONS:
        body = refused(api.post("/agent_runners", {"site_id": NOBODY, "prompt": "x", **fields}), 422, "invalid")
        assert body["message"] == message


def test_a_missing_field_or_a_body_that_is_no_object_has_a_plain_message(api):
    assert refused(api.post("/sites", {}), 422, "invalid")["message"] == "repo_url: is required"
    assert refused(api.post("/sites", []), 422, "invalid")["message"] == "the body: must be an object"


def test_fields_and_parameters_that_an_operation_does_not_take_are_refused(api, make_done_runner):
    path = path_of(make_done_runner(), "/archive")
    assert list(refused(api.post(path, {"reason": "old"}), 422, "invalid")["errors"]) == ["reason"]
    assert list(refused(api.post(f"{path}?reason=old", {}), 422, "invalid")["errors"]) == ["reason"]
    refused(api.post(path, []), 422, "invalid")
    refused(api.post(path, data=b"{", content_type="application/json"), 400, "malformed_json")
    in_body = refused(api.post("/agent_runners?prompt=x", {}), 422, "invalid")
    assert "send it in the JSON body" in in_body["message"]
    assert api.post(path, {}).status_code == 202


def test_an_unexpected_error_is_answered_without_details_and_logged_with_them(api, make_runner, monkeypatch, caplog):
    runner = make_runner()

    def fail(_runner):
        raise LookupError("LOST")

    monkeypatch.setattr(presenters, "runner", fail)
    response = api.get(path_of(runner), headers={"X-Request-Id": "broken-1"})
    refused(response, 500, "internal")
    assert "LOST" not in response.text
    (line,) = [line for line in lines(caplog) if line["event"] == "request_failed"]
    assert line["request_id"] == "broken-1" and "LOST" in str(line["exc_info"])


def test_an_unavailable_database_has_its_own_error(api, database_url):
    db.configure("sqlite:////nonexistent/folder/x.db")
    try:
        response = api.get("/agent_runners")
        refused(response, 503, "database_unavailable")
        assert response.headers["Retry-After"]
        refused(api.client.get("/readyz"), 503, "database_unavailable")
        assert ok(api.client.get("/healthz")) == {"status": "ok"}
    finally:
        db.configure(database_url)
    assert ok(api.client.get("/readyz")) == {"status": "ok"}


def test_a_request_id_is_used_or_generated(api):
    response = api.get("/sites", headers={"X-Request-Id": "checkout-4711"})
    assert response.headers["X-Request-Id"] == "checkout-4711"
    made = {api.get("/sites").headers["X-Request-Id"] for _ in range(2)}
    assert len(made) == 2 and all(len(text) == 32 for text in made)
    for bad in ("", "x" * 129, "a b", "a\tb", "é", '"x"'):
        assert api.get("/sites", headers={"X-Request-Id": bad}).headers["X-Request-Id"] != bad
    for response in (api.get("/nothing"), api.with_token(None).get("/sites"), api("PUT", "/sites")):
        assert response.headers["X-Request-Id"]


def lines(caplog):
    return [record.msg for record in caplog.records if isinstance(record.msg, dict)]


def test_each_request_has_one_line_with_its_id_and_its_user(api, ada, caplog):
    configure_logging("web")  # Other tests may have configured the logs since `app` was created.
    caplog.set_level(logging.INFO)
    api.get("/sites", headers={"X-Request-Id": "checkout-4711"})
    (line,) = [line for line in lines(caplog) if line["event"] == "request"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/v1/sites", 200)
    assert (line["request_id"], line["user_id"]) == ("checkout-4711", str(ada.user.id))
    assert line["process"] == "web" and line["milliseconds"] >= 0


def test_no_secret_is_logged_or_shown(api, make_site, caplog):
    caplog.set_level(logging.DEBUG)
    make_site(access_token="gh-hush")
    api.patch("/sites/x", {"access_token": "gh-hush"})
    token = created(api.post("/tokens", {"name": "ci", "scope": "read"}))["token"]
    api.with_token(token).get("/agent_runners?title=query-hush")
    upload = ok(api.post("/agent_runners/upload_url", {"filename": "x", "content_type": "a/b"}))
    signature = upload["upload_url"].rsplit("signature=", 1)[1]
    api("PUT", upload["upload_url"], data=b"x", headers=upload["headers"])
    bad = api.post("/sites", {"repo_url": "https://ada:gh-hush@example.org/x", "access_token": "gh-hush"})
    logged = caplog.text + json.dumps(lines(caplog), default=str)
    for secret in ("gh-hush", token, api.token, signature, "query-hush"):
        assert secret not in logged
    assert "gh-hush" not in bad.text + api.get("/sites").text


def test_a_post_does_not_wait_for_a_broker_that_does_not_answer(api, make_site, configure):
    site = make_site()
    with socket.create_server(("127.0.0.1", 0)) as broker:
        # Whoever asks it waits for ten seconds.
        configure(BROKER_URL=f"redis://127.0.0.1:{broker.getsockname()[1]}/0")
        began = time.monotonic()
        runner = created(api.post("/agent_runners", {"site_id": site["id"], "prompt": "x"}))
        api.delete(path_of(runner))
        assert time.monotonic() - began < 10
    queue.flush(20)


@pytest.fixture
def statements(api):
    """Count the statements that an answer takes."""

    def count(path):
        seen = []
        listener = lambda *arguments: seen.append(arguments[2])  # noqa: E731
        sa.event.listen(db.engine(), "before_cursor_execute", listener)
        ok(api.get(path))
        sa.event.remove(db.engine(), "before_cursor_execute", listener)
        return len(seen)

    return count


def test_a_long_list_takes_no_more_statements_than_a_short_one(statements, make_done_runner, follow_up):
    runner = make_done_runner()
    paths = ["/agent_runners", path_of(runner, "/sessions"), "/sites"]
    short = [statements(path) for path in paths]
    for _ in range(3):
        make_done_runner()
        follow_up(runner)
    assert [statements(path) for path in paths] == short


def test_a_long_list_of_waiting_runners_takes_no_more_statements_than_a_short_one(statements, make_runner):
    make_runner()
    short = statements("/agent_runners")
    for _ in range(3):
        make_runner()
    assert statements("/agent_runners") == short


def test_an_unavailable_artifact_store_has_its_own_error(api, make_done_runner, configure, configured):
    runner = make_done_runner()
    configured.setenv("AWS_ACCESS_KEY_ID", "nobody")
    configured.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    configure(S3_BUCKET="away", S3_ENDPOINT_URL="http://127.0.0.1:1", S3_REGION="here")
    response = api.get(path_of(runner, "/diff"))
    refused(response, 503, "artifact_store_unavailable")
    assert response.headers["Retry-After"]
