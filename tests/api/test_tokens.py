"""Who may ask: tokens, their scopes, and what happens without one."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa

from app import db
from app.models.states import Scope
from app.services.accounts import console_sessions, tokens
from tests.api.calling import NOBODY, created, empty, ok, path_of, refused, session_path

pytestmark = pytest.mark.same_on_both_databases


BAD_HEADERS = [None, "", "Bearer", "Bearer ", "Basic YTpi", "ar_x", "Bearer ar_unknown", "Bearer é", "bearer x y"]


def test_without_a_good_token_the_answer_is_401(api):
    for header in BAD_HEADERS:
        headers = {} if header is None else {"Authorization": header}
        response = api.with_token(None).get("/agent_runners", headers=headers)
        assert response.status_code == 401 and response.json["error_code"] in ("token_missing", "bad_token")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_scheme_is_read_in_any_case(api):
    assert api.with_token(None).get("/sites", headers={"Authorization": f"bearer {api.token}"}).status_code == 200


def test_a_token_is_shown_once_and_works(api, ada):
    token = created(api.post("/tokens", {"name": "ci", "scope": "WRITE"}))
    assert token["scope"] == "write" and token["user_id"] == str(ada.user.id) and token["revoked_at"] is None
    assert ok(api.with_token(token["token"]).get("/sites")) == []
    listed = ok(api.get("/tokens"))
    assert [row["name"] for row in listed] == ["first token", "ci"] and all("token" not in row for row in listed)


def test_a_revoked_token_is_refused(api):
    token = created(api.post("/tokens", {"name": "ci", "scope": "read"}))
    for _ in range(2):
        empty(api.delete(f"/tokens/{token['id']}"), 204)
    refused(api.with_token(token["token"]).get("/sites"), 401, "bad_token")
    assert ok(api.get("/tokens"))[1]["revoked_at"]
    refused(api.delete(f"/tokens/{NOBODY}"), 404, "token_not_found")


def test_a_token_is_revoked_with_the_one_that_made_it(api, ada):
    """Otherwise whoever had a stolen token would keep the ones that they made with it."""
    stolen = created(api.post("/tokens", {"name": "stolen", "scope": "write"}))
    child = created(api.with_token(stolen["token"]).post("/tokens", {"name": "child", "scope": "write"}))
    grandchild = created(api.with_token(child["token"]).post("/tokens", {"name": "grandchild", "scope": "read"}))
    other = created(api.post("/tokens", {"name": "other", "scope": "read"}))
    empty(api.delete(f"/tokens/{stolen['id']}"), 204)
    for token in (stolen, child, grandchild):
        refused(api.with_token(token["token"]).get("/sites"), 401, "bad_token")
    ok(api.with_token(other["token"]).get("/sites"))
    ok(api.get("/sites"))


def test_a_new_token_can_revoke_the_one_that_it_replaces(api):
    old = created(api.post("/tokens", {"name": "old", "scope": "write"}))
    new = created(api.with_token(old["token"]).post("/tokens", {"name": "new", "scope": "write"}))
    made_with_new = created(api.with_token(new["token"]).post("/tokens", {"name": "ci", "scope": "read"}))
    empty(api.with_token(new["token"]).delete(f"/tokens/{old['id']}"), 204)
    refused(api.with_token(old["token"]).get("/sites"), 401, "bad_token")
    for token in (new, made_with_new):
        ok(api.with_token(token["token"]).get("/sites"))


def test_a_token_cannot_exceed_the_scope_of_its_creator(ada):
    writer = ada.holding(Scope.WRITE)
    created(writer.post("/tokens", {"name": "x", "scope": "read"}))
    for scope in ("admin", "worker"):
        refused(writer.post("/tokens", {"name": "x", "scope": scope}), 403, "scope_missing")
    refused(ada.holding(Scope.READ).post("/tokens", {"name": "x", "scope": "read"}), 403, "scope_missing")
    refused(ada.admin.post("/tokens", {"name": "x", "scope": "root"}), 422, "invalid")


def test_a_user_sees_their_own_tokens_and_an_administrator_the_accounts(ada, join):
    join("Eve")
    ada.holding(Scope.WRITE)
    with db.transaction():
        other = tokens.User(account_id=ada.user.account_id, email="bob@example.org", full_name="Bob")
        db.session.add(other)
        db.session.flush()
        theirs = ada.admin.with_token(tokens.create(other, Scope.READ, "bob's")[1])
    assert [row["name"] for row in ok(theirs.get("/tokens"))] == ["bob's"]
    assert len(ok(ada.admin.get("/tokens"))) == 3


WRITES = [
    ("POST", "/sites", {"repo_url": "https://github.com/example/x.git"}),
    ("PATCH", "/sites/{site}", {}),
    ("DELETE", "/sites/{site}", None),
    ("POST", "/agent_runners", {"site_id": NOBODY, "prompt": "x"}),
    ("PATCH", "{runner}", {}),
    ("DELETE", "{runner}", None),
    ("POST", "{runner}/archive", None),
    ("POST", "{runner}/revert", {"session_id": None}),
    ("POST", "{runner}/pull_request", {}),
    ("POST", "{runner}/commit", {"target_branch": "x"}),
    ("POST", "{runner}/sessions", {"prompt": "x"}),
    ("PATCH", "{session}", {"title": "x"}),
    ("DELETE", "{session}", None),
    ("POST", "{session}/diff/upload_urls", None),
]


def test_a_reader_changes_nothing(ada, make_runner):
    runner = make_runner()
    reader = ada.holding(Scope.READ)
    for method, path, body in WRITES:
        path = path.format(site=f"/sites/{runner['site_id']}"[7:], runner=path_of(runner), session=session_path(runner))
        response = reader(method, path, **({"json": body} if body is not None else {}))
        refused(response, 403, "scope_missing")


def test_a_reader_reads(ada, make_done_runner):
    runner = make_done_runner()
    reader = ada.holding(Scope.READ)
    ok(reader.post(path_of(runner, "/comparisons"), {"to_session_id": runner["latest_session_id"]}))
    for path in ("/sites", "/agent_runners", path_of(runner), path_of(runner, "/diff"), session_path(runner)):
        assert reader.get(path).status_code == 200


def test_a_worker_requests_no_work_and_a_writer_reports_none(ada, make_runner):
    runner = make_runner()
    worker, writer = ada.holding(Scope.WORKER), ada.holding(Scope.WRITE)
    refused(worker.post("/agent_runners", {"site_id": runner["site_id"], "prompt": "x"}), 403, "scope_missing")
    refused(worker.delete(path_of(runner)), 403, "scope_missing")
    refused(writer.patch(session_path(runner), {"state": "RUNNING"}), 403, "scope_missing")
    refused(writer.patch(session_path(runner), {"title": "x", "result": "y"}), 403, "scope_missing")
    refused(writer.post(session_path(runner, rest="/diff/upload_urls")), 403, "scope_missing")


def test_the_last_use_of_a_token_is_shown(api):
    token = created(api.post("/tokens", {"name": "ci", "scope": "read"}))
    assert token["last_used_at"] is None and token["expires_at"] is None
    ok(api.with_token(token["token"]).get("/sites"))
    used = ok(api.get("/tokens"))[1]["last_used_at"]
    assert used is not None
    ok(api.with_token(token["token"]).get("/sites"))
    assert ok(api.get("/tokens"))[1]["last_used_at"] == used, "each use would be a write"


def test_an_expired_token_is_refused(api):
    token = created(api.post("/tokens", {"name": "ci", "scope": "read", "expires_at": "2100-01-01T00:00:00Z"}))
    assert token["expires_at"] == "2100-01-01T00:00:00.000Z"
    ok(api.with_token(token["token"]).get("/sites"))
    with db.transaction():
        db.session.get_one(tokens.Token, uuid.UUID(token["id"])).expires_at = db.session.scalar(sa.select(db.now()))
    refused(api.with_token(token["token"]).get("/sites"), 401, "bad_token")
    past = {"name": "ci", "scope": "read", "expires_at": "2001-01-01T00:00:00Z"}
    refused(api.post("/tokens", past), 422, "bad_expiry")


def test_a_token_does_not_outlive_the_one_that_made_it(api, ada):
    """Otherwise whoever has a token for a day would make one for ever."""
    short = created(api.post("/tokens", {"name": "short", "scope": "write", "expires_at": "2100-01-01T00:00:00Z"}))
    holder = api.with_token(short["token"])
    assert created(holder.post("/tokens", {"name": "child", "scope": "read"}))["expires_at"] == short["expires_at"]
    later = {"name": "later", "scope": "read", "expires_at": "2100-01-01T00:00:01Z"}
    refused(holder.post("/tokens", later), 422, "bad_expiry")
    with db.transaction():
        session = console_sessions.authenticate(console_sessions.begin(short["token"]))
        made, _ = tokens.create_for_caller(session, Scope.READ, "of a session of the console")
        assert made.expires_at.year == 2100
        db.session.get_one(tokens.Token, uuid.UUID(short["id"])).expires_at = db.session.scalar(sa.select(db.now(60)))
        db.session.flush()
        again = console_sessions.authenticate(console_sessions.begin(short["token"]))
        ends = db.session.get_one(tokens.Token, again.token_id).expires_at
        assert ends == db.session.get_one(tokens.Token, uuid.UUID(short["id"])).expires_at
