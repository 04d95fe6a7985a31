"""Variables and secrets of sites and accounts, as their owners see them."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from app import db
from app.models import Site, Variable
from app.models.states import Scope, VariableStage
from app.services.variables import binding
from app.services.variables.values import of_site
from tests.api.calling import created, empty, ok, refused

pytestmark = pytest.mark.same_on_both_databases
VALUE = "npm_correct-horse-17"


@pytest.fixture
def site(make_site):
    return make_site()


def path(site, variable=None):
    return f"/sites/{site['id']}/variables" + (f"/{variable['id']}" if variable else "")


def environment(site, stage):
    with db.transaction(read_only=True):
        row = db.session.scalars(sa.select(Site).where(Site.name == site["name"])).one()
        return of_site(row).environment(stage)


def test_a_secret_is_created_replaced_and_deleted_and_never_shown(api, ada, site):
    answer = api.post(path(site), {"name": "NPM_TOKEN", "value": VALUE})
    first = created(answer)
    assert (first["value"], first["secret"], first["stage"], first["version"]) == (None, True, "agent", 1)
    second = ok(api.patch(path(site, first), {"value": VALUE + "8", "stage": "both"}))
    assert (second["version"], second["stage"], second["updated_by"]) == (2, "both", str(ada.user.id))
    assert second["fingerprint"] != first["fingerprint"]
    back = ok(api.patch(path(site, first), {"value": VALUE}))
    assert back["fingerprint"] == first["fingerprint"], "the fingerprint is that of the value"
    assert ok(api.get(path(site))) == [back] and ok(api.get(path(site, first))) == back
    with db.transaction(read_only=True):
        stored = db.session.scalars(sa.select(Variable.value_encrypted)).one()
    assert VALUE not in stored
    empty(api.delete(path(site, first)), 204)
    refused(api.get(path(site, first)), 404, "variable_not_found")

    trail = ok(api.get("/audit_events"))
    assert [each["action"] for each in trail] == ["variable.deleted", *["variable.updated"] * 2, "variable.created"]
    assert {(each["subject"], each["site_id"], each["user_id"]) for each in trail} == {
        ("NPM_TOKEN", site["id"], str(ada.user.id))
    }
    assert trail[2]["details"]["changed"] == ["value", "stage"] and trail[2]["details"]["version"] == 2
    assert VALUE not in json.dumps(trail) + answer.text


def test_a_variable_that_is_no_secret_is_shown(api, site):
    shown = created(api.post(path(site), {"name": "MODE", "value": "", "secret": False, "stage": "setup"}))
    assert (shown["value"], shown["secret"]) == ("", False)
    hidden = ok(api.patch(path(site, shown), {"value": VALUE, "secret": True}))
    assert hidden["value"] is None
    refused(api.patch(path(site, shown), {"secret": False}), 422, "secret_stays_secret")


def test_what_was_encrypted_with_another_key_can_be_seen_and_set_again(api, site, configure):
    variable = created(api.post(path(site), {"name": "REGION", "value": "eu-west", "secret": False}))
    configure(SECRET_KEY="another key for tests, which is long enough")
    assert [each["value"] for each in ok(api.get(path(site)))] == [None]
    answer = refused(api.patch(path(site, variable), {"stage": "both"}), 503, "secret_key_changed")
    assert "REGION" in answer["message"]
    assert ok(api.patch(path(site, variable), {"value": "eu-east"}))["value"] == "eu-east"


def test_a_secret_for_one_host_reaches_no_command(api, site):
    fields = {"name": "SHOP", "value": VALUE, "host": "api.example.org:8443", "header": "PRIVATE-TOKEN"}
    made = created(api.post(path(site), fields))
    assert (made["host"], made["header"], made["value"]) == ("api.example.org:8443", "PRIVATE-TOKEN", None)
    assert environment(site, VariableStage.AGENT) == environment(site, VariableStage.SETUP) == {}
    with db.transaction(read_only=True):
        (row,) = of_site(db.session.scalars(sa.select(Site)).one()).bound()
    assert binding.parts(row) == ("PRIVATE-TOKEN", "")
    for host in ("other.example.org", None):
        refused(api.patch(path(site, made), {"host": host}), 422, "value_required")
    moved = ok(
        api.patch(path(site, made), {"host": "other.example.org", "header": "Authorization: Basic", "value": VALUE})
    )
    assert moved["host"] == "other.example.org"
    assert ok(api.get("/audit_events"))[0]["details"]["host"] == "other.example.org"


NOT_FOR_HOSTS = [
    ({"host": "https://a.example"}, "invalid"),
    ({"host": "*.a.example"}, "invalid"),
    ({"header": "X-Key"}, "host_missing"),
    ({"host": "a.example", "header": "X Key"}, "invalid"),
    ({"host": "a.example", "header": "Host"}, "reserved_header"),
    ({"host": "a.example:99999"}, "bad_port"),
    ({"host": "a.example", "stage": "both"}, "host_of_other_variable"),
    ({"host": "a.example", "secret": False}, "host_of_other_variable"),
    ({"host": "a.example", "value": "two\nlines-of-it"}, "value_not_for_header"),
    ({"host": "a.example", "name": "OPENAI_BASE"}, "reserved_name"),
]


def test_what_no_host_could_get_is_refused(api, site):
    for fields, code in NOT_FOR_HOSTS:
        refused(api.post(path(site), {"name": "SHOP", "value": VALUE, **fields}), 422, code)


def test_one_of_the_site_takes_the_place_of_one_of_the_account(api, site):
    of_account = [
        created(api.post("/account/variables", {"name": name, "value": f"account-{name}", "stage": stage}))
        for name, stage in (("BOTH", "both"), ("SETUP", "setup"), ("TOKEN", "agent"))
    ]
    of_its_own = created(api.post(path(site), {"name": "TOKEN", "value": "of the site", "stage": "setup"}))
    assert {each["site_id"] for each in of_account} == {None}
    assert environment(site, VariableStage.SETUP) == {
        "BOTH": "account-BOTH",
        "SETUP": "account-SETUP",
        "TOKEN": "of the site",
    }
    assert environment(site, VariableStage.AGENT) == {"BOTH": "account-BOTH"}
    refused(api.get(path(site, of_account[0])), 404, "variable_not_found")
    refused(api.get(f"/account/variables/{of_its_own['id']}"), 404, "variable_not_found")
    empty(api.delete(f"/account/variables/{of_account[0]['id']}"), 204)
    assert environment(site, VariableStage.AGENT) == {}


REFUSED = [
    *(({"name": name}, "reserved_name") for name in ("PATH", "LD_PRELOAD", "GIT_DIR", "https_proxy", "home")),
    ({"name": "AGENT_RUNNERS_SECRET_KEY"}, "reserved_name"),
    ({"name": "OPENAI_BASE_URL"}, "reserved_name"),
    *(({"name": name}, "invalid") for name in ("", "1ST", "A-B", "A B", "A\n", "Ä")),
    ({"value": "short"}, "secret_too_short"),
    ({"value": "ä" * 4097}, "value_too_long"),
    ({"value": "with\0nul-in-it"}, "invalid"),
    ({"stage": "publish"}, "invalid"),
]


def test_what_could_not_work_is_refused_with_a_reason(api, site):
    for fields, code in REFUSED:
        answer = api.post(path(site), {"name": "TOKEN", "value": VALUE, **fields})
        assert VALUE not in refused(answer, 422, code)["message"]
        assert ok(api.get(path(site))) == []


def test_a_name_is_used_once_and_there_is_a_most(api, site):
    for number in range(50):
        created(api.post(path(site), {"name": f"TOKEN_{number}", "value": VALUE}))
    refused(api.post(path(site), {"name": "TOKEN_7", "value": VALUE}), 409, "variable_exists")
    refused(api.post(path(site), {"name": "ANOTHER", "value": VALUE}), 409, "too_many_variables")
    created(api.post("/account/variables", {"name": "TOKEN_7", "value": VALUE}))


def test_only_an_administrator_changes_them(ada, api, site):
    variable = created(api.post(path(site), {"name": "TOKEN", "value": VALUE}))
    for scope in (Scope.READ, Scope.WRITE, Scope.WORKER):
        other = ada.holding(scope)
        assert ok(other.get(path(site))) == [variable]
        for answer in (
            other.post(path(site), {"name": "MORE", "value": VALUE}),
            other.post("/account/variables", {"name": "MORE", "value": VALUE}),
            other.patch(path(site, variable), {"value": VALUE}),
            other.delete(path(site, variable)),
            other.get("/audit_events"),
        ):
            refused(answer, 403, "scope_missing")


def test_a_secret_is_redacted_from_what_callers_and_agents_write(api, site, make_runner, worker):
    created(api.post("/account/variables", {"name": "DATABASE_URL", "value": "postgres://shop:wrong-horse@db/shop"}))
    runner = make_runner(site=site, prompt="Use postgres://shop:wrong-horse@db/shop to log in", agent="shell")
    assert "wrong-horse" not in runner["title"]
    title = ok(api.patch(f"/agent_runners/{runner['id']}", {"title": "with wrong-horse"}))["title"]
    assert title == "with [redacted]"


def test_the_trail_of_another_account_is_not_shown(api, join, site):
    created(api.post(path(site), {"name": "TOKEN", "value": VALUE}))
    assert ok(join("Eve").admin.get("/audit_events")) == []
