"""What belongs to another account is not there, whatever one asks of it. The routes come from the URL map."""

from __future__ import annotations

import pytest

from tests.api.calling import BASE, NOBODY, created, ok, path_of
from tests.application import application

BODIES = {
    "revert": {"session_id": None},
    "commit": {"target_branch": "x"},
    "sessions": {"prompt": "x"},
    "comparisons": {"to_session_id": NOBODY},
    "delete_url": {"file_key": "x"},
    "agent_runner_hooks": {"prompt": "x", "agent": "claude"},
    "schedules": {"cron": "0 9 * * *", "prompt": "x", "agent": "claude"},
    "variables": {"name": "TOKEN", "value": "a value of the test"},
}


def routes_with_ids(app):
    """Every method and rule of the API that names something by its id."""
    for rule in app.url_map.iter_rules():
        # Who delivers to a hook has its secret instead of a token.
        is_open = rule.rule.startswith((f"{BASE}/hooks/", f"{BASE}/forge_webhooks/"))
        if rule.rule.startswith(BASE) and "uuid:" in rule.rule and not is_open:
            for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
                yield method, rule


def test_resources_of_another_account_are_not_found(app, api, join, make_done_runner, uploaded_by):
    runner = make_done_runner()
    token = ok(api.get("/tokens"))[0]
    session_id = runner["latest_session_id"]
    ids = {
        "comparison_id": ok(api.post(path_of(runner, "/comparisons"), {"to_session_id": session_id}))["id"],
        "schedule_id": created(api.post(f"/sites/{runner['site_id']}/schedules", BODIES["schedules"]))["id"],
        "preflight_id": api.post(f"/sites/{runner['site_id']}/preflight").json["id"],
        "budget_id": created(api.post("/budgets", {"period": "day", "max_tokens": 10**9}))["id"],
        "variable_id": created(api.post(f"/sites/{runner['site_id']}/variables", BODIES["variables"]))["id"],
        "hook_id": created(api.post(f"/sites/{runner['site_id']}/agent_runner_hooks", BODIES["agent_runner_hooks"]))[
            "id"
        ],
        "agent_runner_id": runner["id"],
        "session_id": session_id,
        "site_id": runner["site_id"],
        "token_id": token["id"],
        "member_id": token["user_id"],
        "forge_account_id": created(api.post("/account/forge_accounts", {"forge": "github", "token": "a-token"}))["id"],
        "webhook_id": created(api.post("/webhooks", {"url": "https://hooks.example.org/"}))["id"],
        "delivery_id": token["id"],
    }
    eve, tried = join("Eve").admin, 0
    for method, rule in routes_with_ids(app):
        _, path = rule.build({name: ids[name] for name in rule.arguments}, append_unknown=False)
        body = BODIES.get(path.rsplit("/", 1)[-1], {}) if method in ("POST", "PATCH") else None
        response = eve(method, path.removeprefix(BASE), **({} if body is None else {"json": body}))
        assert response.status_code == 404 and response.json["code"] == 404, (method, path, response.text)
        assert "Ada" not in response.text
        tried += 1
    assert tried >= 20
    assert ok(api.get(path_of(runner)))["state"] == "DONE"


@pytest.mark.same_on_both_databases
def test_resources_of_another_account_cannot_be_used(api, join, make_done_runner, make_site, uploaded_by):
    runner = make_done_runner()
    eve = join("Eve").admin
    site = make_site(eve)
    fields = {"site_id": site["id"], "prompt": "x"}
    assert eve.post("/agent_runners", {**fields, "site_id": runner["site_id"]}).status_code == 404
    assert eve.post("/agent_runners", {**fields, "parent_agent_runner_id": runner["id"]}).status_code == 404
    assert eve.post("/agent_runners", {**fields, "file_keys": [uploaded_by(api)]}).status_code == 422
    assert eve.post("/agent_runners/delete_url", {"file_key": uploaded_by(api)}).status_code == 404
    for filters in ("", f"?site_id={runner['site_id']}", f"?user_id={runner['user']['id']}"):
        assert ok(eve.get(f"/agent_runners{filters}")) == []
    assert len(ok(eve.get("/sites"))) == 1


@pytest.mark.same_on_both_databases
def test_a_session_is_not_reached_through_another_runner(api, make_done_runner):
    one, two = make_done_runner(), make_done_runner()
    for rest in ("", "/diff/result", "/diff/cumulative", "/events"):
        assert api.get(path_of(one, f"/sessions/{two['latest_session_id']}{rest}")).status_code == 404
    assert api.post(path_of(one, "/revert"), {"session_id": two["latest_session_id"]}).status_code == 404


@pytest.fixture
def uploaded_by():
    """Upload a file as somebody; its key."""

    def upload(api):
        fields = {"filename": "x.txt", "content_type": "text/plain", "size": 1}
        answer = ok(api.post("/agent_runners/upload_url", fields))
        assert api("PUT", answer["upload_url"], data=b"x", headers=answer["headers"]).status_code == 200
        return answer["file_key"]

    return upload


def test_the_description_lists_every_route(configured):
    app = application()
    described = app.test_client().get(f"{BASE}/openapi.json").json["paths"]
    others = ("api-docs.openapi_json", "to_docs", "console.")
    assert len(described) == len([rule for rule in app.url_map.iter_rules() if not rule.endpoint.startswith(others)])
