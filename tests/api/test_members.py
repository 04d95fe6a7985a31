"""The people of an account: what their roles allow, and that one administrator is left."""

from __future__ import annotations

import pytest

from app.models.states import Scope
from tests.api.calling import created, empty, ok, refused

pytestmark = pytest.mark.same_on_both_databases
GRACE = {"email": "grace@example.org", "full_name": "Grace Hopper"}


@pytest.fixture
def grace(api):
    """A member, as the answer shows her, who calls with her first token."""
    made = created(api.post("/account/members", GRACE))
    return made, api.with_token(made["token"])


def test_a_member_works_in_the_account_with_the_token_that_is_shown_once(ada, api, grace):
    made, member = grace
    assert (made["role"], made["email"], made["disabled_at"]) == ("member", "grace@example.org", None)
    assert ok(member.get("/me"))["account"] == ok(api.get("/me"))["account"]
    site = created(member.post("/sites", {"repo_url": "https://github.com/example/shop.git"}))
    assert ok(api.get(f"/sites/{site['id']}"))["name"] == site["name"]
    listed = ok(member.get("/account/members"))
    assert [each["id"] for each in listed] == [str(ada.user.id), made["id"]] and "token" not in listed[1]
    refused(member.get("/audit_events"), 403, "scope_missing")
    refused(api.post("/account/members", GRACE), 409, "user_exists")
    refused(api.post("/account/members", {**GRACE, "email": "grace"}), 422, "bad_email")


def test_a_role_holds_at_once_for_all_tokens_of_its_user(api, grace):
    made, member = grace
    ok(api.patch(f"/account/members/{made['id']}", {"role": "admin"}))
    lasting = member.with_token(created(member.post("/tokens", {"name": "ci", "scope": "write"}))["token"])
    ok(api.patch(f"/account/members/{made['id']}", {"role": "viewer"}))
    for each in (member, lasting):
        ok(each.get("/agent_runners"))
        refused(each.post("/tokens", {"name": "x", "scope": "read"}), 403, "scope_missing")


def test_an_administrators_token_of_a_member_allows_what_the_member_may(ada, api, grace):
    administrator = ada.holding(Scope.ADMIN)
    made, _ = grace
    ok(api.patch(f"/account/members/{made['id']}", {"role": "admin"}))
    ok(api.patch(f"/account/members/{ada.user.id}", {"role": "member"}))
    refused(administrator.get("/audit_events"), 403, "scope_missing")
    created(administrator.post("/tokens", {"name": "ci", "scope": "write"}))


def test_a_disabled_member_is_refused_until_enabled_again(api, grace):
    made, member = grace
    path = f"/account/members/{made['id']}"
    assert ok(api.patch(path, {"disabled": True}))["disabled_at"]
    refused(member.get("/sites"), 401, "bad_token")
    assert ok(api.patch(path, {"disabled": False}))["disabled_at"] is None
    ok(member.get("/sites"))


def test_a_member_who_was_removed_has_no_token_left(api, grace):
    made, member = grace
    path = f"/account/members/{made['id']}"
    for _ in range(2):
        empty(api.delete(path), 204)
    assert ok(api.get(path))["disabled_at"]
    ok(api.patch(path, {"disabled": False}))
    refused(member.get("/sites"), 401, "bad_token")


def test_one_administrator_is_left(ada, api, grace):
    own = f"/account/members/{ada.user.id}"
    refused(api.patch(own, {"role": "member"}), 409, "last_administrator")
    refused(api.patch(own, {"disabled": True}), 409, "last_administrator")
    refused(api.delete(own), 409, "last_administrator")
    assert ok(api.get(own))["role"] == "admin"
    ok(api.patch(f"/account/members/{grace[0]['id']}", {"role": "admin"}))
    empty(api.delete(own), 204)
    refused(api.get("/me"), 401, "bad_token")


def test_only_an_administrator_changes_members_and_changes_are_recorded(ada, api, grace):
    made, member = grace
    path = f"/account/members/{made['id']}"
    for caller in (member, ada.holding(Scope.WRITE)):
        for response in (
            caller.post("/account/members", {**GRACE, "email": "eve@example.org"}),
            caller.patch(path, {"role": "admin"}),
            caller.delete(path),
        ):
            refused(response, 403, "scope_missing")
    ok(api.patch(path, {"full_name": "Rear Admiral Hopper"}))
    recorded = ok(api.get("/audit_events"))
    assert [(each["action"], each["subject"]) for each in recorded] == [
        ("member.updated", made["id"]),
        ("member.created", made["id"]),
    ]


def test_a_repeat_adds_nobody_and_shows_no_token(api):
    sent = {"headers": {"Idempotency-Key": "once"}}
    first, again = (created(api.post("/account/members", GRACE, **sent)) for _ in range(2))
    assert again == {**first, "token": None}
    assert len(ok(api.get("/account/members"))) == 2
