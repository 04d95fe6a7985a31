"""People's own accounts on forges, as callers see them. What workers ask forges is tried in `tests/tasks`."""

from __future__ import annotations

import datetime
import uuid

import pytest
import sqlalchemy as sa

from app import db
from app.models import ForgeAccount
from app.models.states import Scope
from app.services.accounts import forge_accounts
from tests.api.calling import NOBODY, created, empty, ok, refused

pytestmark = pytest.mark.same_on_both_databases
TOKEN = "a-token-of-ada-on-the-forge"
PATH = "/account/forge_accounts"
GITHUB = {"forge": "github", "token": TOKEN}


def record(made, **fields):
    with db.transaction():
        assert forge_accounts.claim(uuid.UUID(made["id"]))
        assert forge_accounts.claim(uuid.UUID(made["id"])) is None, "one worker asks"
    with db.transaction():
        if fields:
            forge_accounts.succeed(uuid.UUID(made["id"]), **fields)
        else:
            forge_accounts.fail(uuid.UUID(made["id"]), "forge_auth", "The forge refused the token.")


def test_an_account_is_pending_until_a_worker_has_asked_and_its_token_is_never_shown(api):
    answer = api.post(PATH, GITHUB, headers={"Idempotency-Key": "one"})
    made = created(answer)
    assert (made["state"], made["forge_api_url"], made["login"]) == ("PENDING", "https://api.github.com", None)
    record(made, login="ada", name="Ada Lovelace", email=None)
    found = ok(api.get(f"{PATH}/{made['id']}"))
    assert (found["state"], found["login"], found["name"], found["email"]) == ("CONNECTED", "ada", "Ada Lovelace", None)
    again = api.post(PATH, GITHUB, headers={"Idempotency-Key": "one"})
    listed = api.get(PATH)
    assert ok(listed) == [found] and listed.headers["Total"] == "1"
    assert all(TOKEN not in each.text for each in (answer, again, listed))
    with db.transaction(read_only=True):
        assert TOKEN not in str(db.session.execute(sa.text("SELECT * FROM forge_accounts")).all())
        assert TOKEN not in str(db.session.execute(sa.text("SELECT * FROM idempotency_keys")).all())


def test_a_user_has_one_account_on_a_server_and_one_that_failed_is_replaced(api):
    first = created(api.post(PATH, GITHUB))
    refused(api.post(PATH, {**GITHUB, "forge_api_url": "https://API.github.com/"}), 409, "forge_account_exists")
    record(first)
    failed = ok(api.get(f"{PATH}/{first['id']}"))
    assert failed["failure"] == {"code": "forge_auth", "message": "The forge refused the token."}
    with db.transaction(read_only=True):
        assert db.session.get_one(ForgeAccount, uuid.UUID(first["id"])).token_encrypted is None
    second = created(api.post(PATH, GITHUB))
    assert [each["id"] for each in ok(api.get(PATH))] == [second["id"]]
    created(api.post(PATH, {**GITHUB, "forge_api_url": "https://git.example.org/api/v3"}))


@pytest.mark.parametrize(
    ("forge", "server", "spellings"),
    [
        ("gitlab", "https://h.example.org", ["", "/", "/api/v4", "/api/v4/", ":443/api/v4"]),
        ("gitlab", "https://h.example.org:8443/git", [":8443/git", ":8443/git/api/v4/"]),
        ("github", "https://h.example.org", ["/api/v3", ":443"]),
        ("bitbucket_data_center", "https://h.example.org", ["", "/rest/api/1.0", "/rest"]),
        ("azure_devops", "https://h.example.org/acme", ["/acme", "/Acme/", ":443/ACME"]),
    ],
)
def test_each_spelling_of_a_server_is_the_same_one(api, forge, server, spellings):
    """A row of an earlier release, with the address as it was given, counts as well."""
    first, *others = [{"forge": forge, "forge_api_url": f"https://H.example.org{each}"} for each in spellings]
    made = created(api.post(PATH, {**first, "token": TOKEN}))
    assert made["forge_api_url"] == server
    for other in others:
        refused(api.post(PATH, {**other, "token": TOKEN}), 409, "forge_account_exists")
    with db.transaction():
        db.session.execute(sa.update(ForgeAccount).values(forge_api_url=f"{server}/"))
    refused(api.post(PATH, {**first, "token": TOKEN}), 409, "forge_account_exists")
    record(made)
    again = created(api.post(PATH, {**first, "token": TOKEN}))
    assert [(each["id"], each["forge_api_url"]) for each in ok(api.get(PATH))] == [(again["id"], server)]


def test_the_audit_trail_says_who_connected_and_removed_an_account(api):
    made = created(api.post(PATH, GITHUB))
    empty(api.delete(f"{PATH}/{made['id']}"), 204)
    removed, added = ok(api.get("/audit_events"))[:2]
    assert (added["action"], removed["action"]) == ("forge_account.created", "forge_account.deleted")
    for event in (added, removed):
        assert event["subject"] == made["id"]
        assert event["details"] == {"forge": "github", "forge_api_url": "https://api.github.com"}


def test_without_a_worker_it_fails_by_itself_and_an_account_has_few_at_once(api):
    hosts = [{**GITHUB, "forge_api_url": f"https://git{number}.example.org"} for number in range(5)]
    made = [created(api.post(PATH, each)) for each in hosts[: forge_accounts.MOST_PENDING]]
    refused(api.post(PATH, hosts[-1]), 429, "too_many_forge_accounts")
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=3)
    with db.transaction():
        db.session.execute(sa.update(ForgeAccount).values(created_at=past))
    found = ok(api.get(f"{PATH}/{made[0]['id']}"))
    assert (found["state"], found["failure"]["code"]) == ("FAILED", "forge_account_expired")
    created(api.post(PATH, hosts[0]))


def test_a_reader_may_list_and_a_writer_may_connect(api, ada):
    made = created(ada.holding(Scope.WRITE).post(PATH, GITHUB))
    for scope in (Scope.READ, Scope.WORKER):
        other = ada.holding(scope)
        assert ok(other.get(PATH))[0]["id"] == made["id"]
        refused(other.post(PATH, GITHUB), 403, "scope_missing")
        refused(other.delete(f"{PATH}/{made['id']}"), 403, "scope_missing")
    empty(ada.holding(Scope.WRITE).delete(f"{PATH}/{made['id']}"), 204)
    refused(api.get(f"{PATH}/{made['id']}"), 404, "forge_account_not_found")
    refused(api.delete(f"{PATH}/{NOBODY}"), 404, "forge_account_not_found")


def test_nobody_else_sees_an_account_and_it_goes_with_its_person(api):
    grace = created(api.post("/account/members", {"email": "grace@example.org", "full_name": "Grace"}))
    made = created(api.with_token(grace["token"]).post(PATH, GITHUB))
    assert ok(api.get(PATH)) == [], "an administrator does not see it either"
    refused(api.get(f"{PATH}/{made['id']}"), 404, "forge_account_not_found")
    refused(api.delete(f"{PATH}/{made['id']}"), 404, "forge_account_not_found")
    created(api.post(PATH, GITHUB))
    empty(api.delete(f"/account/members/{grace['id']}"), 204)
    with db.transaction(read_only=True):
        assert db.session.get(ForgeAccount, uuid.UUID(made["id"])) is None


NOT_CONNECTED = [
    ({"forge": "none"}, "forge_without_accounts"),
    ({"forge": "azure_devops"}, "forge_api_url_missing"),
    ({"forge": "bitbucket_data_center"}, "forge_api_url_missing"),
    ({"forge_api_url": "https://10.0.0.1/api/v3"}, "private_address"),
    ({"forge_api_url": "ftp://git.example.org"}, "bad_forge_api_url"),
    ({"token": ""}, None),
]


def test_what_cannot_be_connected_is_refused_at_once(api):
    for fields, code in NOT_CONNECTED:
        answer = api.post(PATH, {**GITHUB, **fields})
        assert answer.status_code == 422 and (code is None or answer.json["error_code"] == code), answer.text
        assert TOKEN not in answer.text
