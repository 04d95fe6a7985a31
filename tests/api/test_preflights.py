"""Preflights as callers see them. What workers find is tried in `tests/tasks`."""

from __future__ import annotations

import datetime
import uuid

import pytest
import sqlalchemy as sa

from app import db
from app.models import Preflight
from app.models.states import Scope, SessionState
from app.services import agents
from app.services.agents import Found
from app.services.execution.outcomes import Failure
from app.services.preflights import preflights
from tests.api.calling import ok, refused

pytestmark = pytest.mark.same_on_both_databases
OK = {"name": "repository", "status": "ok", "code": None, "message": "It can be read."}


@pytest.fixture
def hosts(app):
    with db.transaction():
        found = [Found("claude", None, "2.1.197", True), Found("codex", "Install it.", None, None)]
        agents.report("one", [*found, Found(agents.SANDBOX, None, "bubblewrap", None)])


def accepted(response):
    assert response.status_code == 202, response.text
    return response.json


def path(preflight):
    return f"/sites/{preflight['site_id']}/preflight/{preflight['id']}"


def codes(preflight):
    return {check["name"]: check["code"] or check["status"] for check in preflight["checks"]}


def test_what_the_record_knows_is_found_at_once_and_the_rest_by_a_worker(api, hosts, make_site):
    site = make_site(default_agent="claude")
    first = accepted(api.post(f"/sites/{site['id']}/preflight"))
    assert (first["state"], first["ok"], first["agent"], first["branch"]) == ("pending", None, "claude", "main")
    assert codes(first) == {"agent": "ok", "sandbox": "ok"}
    with db.transaction():
        claim = preflights.claim(uuid.UUID(first["id"]))
    assert claim and claim.has_key
    with db.transaction():
        assert preflights.claim(uuid.UUID(first["id"])) is None, "one worker does it"
        preflights.record(claim.preflight.id, [OK])
    after = ok(api.get(path(first)))
    assert (after["state"], after["ok"], after["checks"][-1]) == ("done", True, OK)


def test_what_is_missing_has_a_code_and_a_remedy(api, make_site, hosts):
    site = make_site()
    assert (
        codes(accepted(api.post(f"/sites/{site['id']}/preflight", {"agent": "codex"})))["agent"]
        == "agent_not_installed"
    )
    unknown = accepted(api.post(f"/sites/{site['id']}/preflight", {"agent": "nobody"}))
    assert codes(unknown)["agent"] == "unknown_agent" and unknown["agent"] is None
    refused(api.post(f"/sites/{site['id']}/preflight", {"branch": "a..b"}), 422, "bad_branch")


def test_without_a_worker_it_ends_by_itself_and_an_account_has_few_at_once(api, make_site):
    site = make_site()
    first = accepted(api.post(f"/sites/{site['id']}/preflight"))
    assert codes(first) == {"agent": "no_worker", "sandbox": "no_worker"}
    accepted(api.post(f"/sites/{site['id']}/preflight"))
    answer = api.post(f"/sites/{site['id']}/preflight")
    refused(answer, 429, "too_many_preflights")
    assert answer.headers["Retry-After"] == "5"
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=3)
    with db.transaction():
        db.session.execute(sa.update(Preflight).values(created_at=past))
    lost = ok(api.get(path(first)))
    assert (lost["state"], lost["ok"], codes(lost)["worker"]) == ("done", False, "preflight_expired")
    accepted(api.post(f"/sites/{site['id']}/preflight"))


def test_the_setup_command_is_tried_in_a_session(api, hosts, worker, make_site):
    site = make_site(setup_command="npm ci", default_agent="claude")
    first = accepted(api.post(f"/sites/{site['id']}/preflight", {"run_setup": True}))
    runner = ok(api.get(f"/agent_runners/{first['agent_runner_id']}"))
    with db.transaction():
        preflights.record(uuid.UUID(first["id"]), [OK])
    assert ok(api.get(path(first)))["state"] == "pending"
    failure = Failure("setup_failed", "setup", False, "The setup command ended with exit status 1.")
    worker.finish(worker.claim(runner["latest_session_id"]), SessionState.ERROR, failure=failure)
    after = ok(api.get(path(first)))
    assert (after["state"], after["ok"], codes(after)["setup"]) == ("done", False, "setup_failed")
    plain = accepted(api.post(f"/sites/{make_site()['id']}/preflight", {"run_setup": True}))
    assert codes(plain)["setup"] == "skipped" and plain["agent_runner_id"] is None


def test_who_may_only_read_starts_none(ada, make_site):
    refused(ada.holding(Scope.READ).post(f"/sites/{make_site()['id']}/preflight"), 403, "scope_missing")
