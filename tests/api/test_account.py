"""Who the caller is, what the account may have, and which pages may call from a browser."""

from __future__ import annotations

import pytest

from app.models.states import Scope
from app.web import create_app
from tests.api.calling import Api, ok, refused

pytestmark = pytest.mark.same_on_both_databases


def test_a_caller_sees_who_it_is(api, ada):
    me = ok(ada.holding(Scope.READ).get("/me"))
    assert (me["id"], me["full_name"], me["email"]) == (str(ada.user.id), "Ada", "ada@example.org")
    assert me["account"] == {"id": str(ada.user.account_id), "name": "Ada's team"}
    assert (me["token"]["name"], me["token"]["scope"]) == ("read", "read")
    refused(api.with_token(None).get("/me"), 401, "token_missing")


def test_an_account_shows_its_limits_and_use(api, join, make_runner, worker, configure):
    configure(MAX_QUEUED_SESSIONS="7")
    worker.claim(make_runner()["latest_session_id"])
    make_runner()
    account = ok(api.get("/account"))
    assert account["limits"] == {
        "max_concurrent_sessions": None,
        "max_queued_sessions": 7,
        "max_stored_bytes": 100 * 1024**3,
    }
    assert account["used"] == {"running_sessions": 1, "queued_sessions": 1, "stored_bytes": 0}
    assert ok(join("Eve").admin.get("/account"))["used"] == {
        "running_sessions": 0,
        "queued_sessions": 0,
        "stored_bytes": 0,
    }


PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization, content-type"}


def test_pages_of_other_origins_may_not_call_unless_the_operator_names_them(api, configure):
    theirs = {"Origin": "https://app.example.org"}
    assert "Access-Control-Allow-Origin" not in api.get("/sites", headers=theirs).headers
    configure(CORS_ORIGINS="https://app.example.org")
    named = Api(create_app().test_client(), api.token)
    response = named.get("/sites?per_page=1", headers=theirs)
    assert ok(response) == [] and response.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
    assert {"Total", "Link"} <= set(response.headers["Access-Control-Expose-Headers"].split(", "))
    asked = named.with_token(None)("OPTIONS", "/sites?per_page=1", headers={**theirs, **PREFLIGHT})
    assert asked.status_code == 200 and "PATCH" in asked.headers["Access-Control-Allow-Methods"]
    assert "authorization" in asked.headers["Access-Control-Allow-Headers"].lower()
    other = named.get("/sites", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in other.headers
