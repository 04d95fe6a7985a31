"""What every answer shares: the error shape, request ids, headers; and what is logged about it."""

from __future__ import annotations

import json
import logging
import time

import pytest
import sqlalchemy as sa

from app import db
from tests.api.calling import created, ok, path_of, refused


def test_an_unknown_route_answers_in_the_one_shape(api):
    refused(api.get("/nothing/here"), 404, "route_not_found")
    refused(api.client.get("/"), 404, "route_not_found")
    refused(api.get("/agent_runners/"), 404, "route_not_found")


def test_a_method_that_is_not_there_names_those_that_are(api):
    response = api("PUT", "/agent_runners")
    refused(response, 405, "method_not_allowed")
    assert {"GET", "POST"} <= set(response.headers["Allow"].split(", "))


def test_what_breaks_on_our_side_is_told_without_details_and_logged_with_them(api, make_runner, engine, caplog):
    runner = make_runner()
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE agent_runners SET state = 'LOST'"))
    response = api.get(path_of(runner), headers={"X-Request-Id": "broken-1"})
    refused(response, 500, "internal")
    assert "LOST" not in response.text
    (line,) = [line for line in lines(caplog) if line["event"] == "request_broken"]
    assert line["request_id"] == "broken-1" and "LOST" in str(line["exc_info"])


def test_a_database_that_does_not_answer_is_told_apart(api, database_url):
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


def test_a_request_id_is_taken_over_or_made(api):
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
    api.with_token(token).get("/sites?title=query-hush")
    upload = ok(api.post("/agent_runners/upload_url", {"filename": "x", "content_type": "a/b"}))
    signature = upload["upload_url"].rsplit("signature=", 1)[1]
    api("PUT", upload["upload_url"], data=b"x", headers=upload["headers"])
    bad = api.post("/sites", {"repo_url": "https://ada:gh-hush@example.org/x", "access_token": "gh-hush"})
    logged = caplog.text + json.dumps(lines(caplog), default=str)
    for secret in ("gh-hush", token, api.token, signature, "query-hush"):
        assert secret not in logged
    assert "gh-hush" not in bad.text + api.get("/sites").text


def test_a_post_does_not_wait_for_a_broker_that_nobody_answers_at(api, make_site):
    site = make_site()
    began = time.monotonic()
    runner = created(api.post("/agent_runners", {"site_id": site["id"], "prompt": "x"}))
    api.delete(path_of(runner))
    assert time.monotonic() - began < 2


@pytest.fixture
def statements(api):
    """Count the statements that an answer takes."""

    def count(path):
        seen = []
        listener = lambda *arguments: seen.append(arguments[2])  # noqa: E731
        sa.event.listen(db._engine, "before_cursor_execute", listener)
        ok(api.get(path))
        sa.event.remove(db._engine, "before_cursor_execute", listener)
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


def test_an_artifact_store_that_does_not_answer_is_told_apart(api, make_done_runner, configure, configured):
    runner = make_done_runner()
    configured.setenv("AWS_ACCESS_KEY_ID", "nobody")
    configured.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    configure(S3_BUCKET="away", S3_ENDPOINT_URL="http://127.0.0.1:1", S3_REGION="here")
    response = api.get(path_of(runner, "/diff"))
    refused(response, 503, "artifact_store_unavailable")
    assert response.headers["Retry-After"]
