"""The account in the console: tokens, budgets and webhooks; and the schedules and hooks of a site."""

from __future__ import annotations

import datetime
import re
import uuid

import pytest
import sqlalchemy as sa

from app import db
from app.models import Event, WebhookDelivery
from app.models.states import Scope
from app.services.accounts import forge_accounts
from tests.api.calling import created, ok
from tests.console.browser import Browser

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")


def secret_of(page):
    return re.search(r'<code class="secret" tabindex="0">([^<]+)</code>', page)[1]


def test_a_token_is_shown_once_and_revoked(browser, api):
    made = browser.post("/account/tokens", name="<ci>", scope="write")
    text = secret_of(made.text)
    assert ok(api.with_token(text).get("/me"))["token"]["scope"] == "write"
    page = browser.page("/account")
    assert "&lt;ci&gt;" in page and text not in page
    token = next(each for each in ok(api.get("/tokens")) if each["name"] == "<ci>")
    assert browser.post(f"/account/tokens/{token['id']}/revoke").status_code == 303
    assert "&lt;ci&gt;" not in browser.page("/account") and api.with_token(text).get("/me").status_code == 401
    assert browser.post("/account/tokens", name=" ", scope="write").status_code == 422
    browser.post("/account/tokens", name="for a month", scope="read", days="30")
    short = next(each for each in ok(api.get("/tokens")) if each["name"] == "for a month")
    days = (datetime.datetime.fromisoformat(short["expires_at"]) - datetime.datetime.now(datetime.UTC)).days
    assert days in (29, 30) and f"until {short['expires_at'][:10]}" in browser.page("/account")
    assert browser.post("/account/tokens", name="x", scope="read", days="soon").status_code == 422


def test_members_are_added_change_roles_and_are_disabled(browser, api):
    made = browser.post("/account/members", full_name="<Bob>", email="bob@example.org", role="viewer")
    bob = api.with_token(secret_of(made.text))
    assert ok(bob.get("/me"))["role"] == "viewer" and "of &lt;Bob&gt;" in made.text
    path = f"/account/members/{ok(bob.get('/me'))['id']}"
    assert browser.post(f"{path}/role", role="member").status_code == 303
    assert ok(bob.get("/me"))["role"] == "member"
    browser.post(f"{path}/active")
    assert bob.get("/me").status_code == 401 and "disabled" in browser.page("/account")
    browser.post(f"{path}/active", active="1")
    assert bob.get("/me").status_code == 200
    again = browser.post("/account/members", full_name="Bob", email="bob@example.org")
    assert again.status_code == 409 and 'value="bob@example.org"' in again.text
    refused = browser.post(f"/account/members/{ok(api.get('/me'))['id']}/role", role="viewer")
    assert refused.status_code == 409 and "no administrator left" in refused.text


def test_an_account_on_a_forge_is_connected_and_removed(browser, api):
    token = "a-token-of-ada"
    assert browser.post("/account/forge_accounts", forge="github", token=token).status_code == 303
    [made] = ok(api.get("/account/forge_accounts"))
    page = browser.page("/account")
    assert "a worker is asking" in page and "https://api.github.com" in page and token not in page
    again = browser.post("/account/forge_accounts", forge="github", token=token)
    assert again.status_code == 409 and "Remove it first" in again.text and token not in again.text
    with db.transaction():
        forge_accounts.fail(uuid.UUID(made["id"]), "forge_auth", "The forge <refused> it.")
    assert "The forge &lt;refused&gt; it." in browser.page("/account")
    assert browser.post(f"/account/forge_accounts/{made['id']}/remove").status_code == 303
    assert ok(api.get("/account/forge_accounts")) == []


def test_budgets_are_added_and_deleted(browser, api, make_site):
    site = make_site(name="Shop")
    fields = {"period": "month", "max_cost_usd": "200", "max_tokens": "", "site_id": site["id"]}
    assert browser.post("/account/budgets", **fields).status_code == 303
    assert browser.post("/account/budgets", **fields).status_code == 409
    page = browser.page("/account")
    assert "Shop, by month" in page and "$0.00 of $200.00" in page
    [budget] = ok(api.get("/budgets"))
    browser.post(f"/account/budgets/{budget['id']}/delete")
    assert ok(api.get("/budgets")) == []
    assert "limits at least one" in browser.post("/account/budgets", period="day").text


def test_webhooks_are_added_stopped_and_deliver_again(browser, api, make_runner):
    make_runner()
    fields = {"url": "https://hooks.example.org/x", "events": ["session.done"], "site_id": ""}
    made = browser.post("/account/webhooks", **fields)
    assert secret_of(made.text).startswith("whsec_")
    [webhook] = ok(api.get("/webhooks"))
    assert webhook["events"] == ["session.done"]
    with db.transaction():
        event_id = db.session.scalars(sa.select(Event.id)).first()
        delivery = WebhookDelivery(webhook_id=uuid.UUID(webhook["id"]), event_id=event_id, event_type="session.done")
        delivery.state, delivery.tries, delivery.status, delivery.error = "failed", 3, 500, "<b>It broke</b>"
        db.session.add(delivery)
    path = f"/account/webhooks/{webhook['id']}"
    page = browser.page(path)
    assert "failed with 500" in page and "&lt;b&gt;It broke" in page and "3 tries" in page
    replay = re.search(rf'action="({path}/deliveries/[^"]+/replay)"', page)[1]
    assert browser.post(replay).status_code == 303
    with db.transaction(read_only=True):
        assert db.session.scalars(sa.select(WebhookDelivery.state)).one() == "pending"
    browser.post(f"{path}/active")
    assert "It is stopped" in browser.page(path)
    assert browser.post(replay).status_code == 409
    browser.post(f"{path}/active", active="1")
    assert ok(api.get(f"/webhooks/{webhook['id']}"))["state"] == "active"
    browser.post(f"{path}/delete")
    assert ok(api.get("/webhooks")) == [] and browser.get(path).status_code == 404
    refused = browser.post("/account/webhooks", url="ftp://x")
    assert refused.status_code == 422 and "ftp://x" in refused.text


def test_a_site_has_schedules(browser, api, make_site):
    site = make_site()
    path = f"/sites/{site['id']}"
    fields = {"cron": "0 9 * * MON", "prompt": "Update the dependencies.", "overlap": "queue", "timezone": ""}
    assert browser.post(f"{path}/schedules", **fields).status_code == 303
    [schedule] = ok(api.get(f"{path}/schedules"))
    page = browser.page(f"{path}/automation")
    assert "Update the dependencies." in page and page.count("Mon ") == 5
    for verb in ("run", "stop"):
        assert browser.post(f"{path}/schedules/{schedule['id']}/{verb}").status_code == 303
    page = browser.page(f"{path}/automation")
    assert ok(api.get("/agent_runners"))[0]["id"] in page and ">stopped<" in page and "Next:" not in page
    browser.post(f"{path}/schedules/{schedule['id']}/resume")
    assert ok(api.get(f"{path}/schedules"))[0]["active"] is True
    browser.post(f"{path}/schedules/{schedule['id']}/delete")
    assert ok(api.get(f"{path}/schedules")) == []
    refused = browser.post(f"{path}/schedules", **{**fields, "cron": "soon"})
    assert refused.status_code == 422 and 'value="soon"' in refused.text and 'id="fold-schedule" open' in refused.text


def test_a_site_has_hooks(app, ada, browser, api, make_site):
    path = f"/sites/{make_site()['id']}"
    fields = {"name": "Issues", "prompt": "Fix {{ issue.title }}", "subject": "x", "conditions": "action = opened\r\n"}
    secret = secret_of(browser.post(f"{path}/hooks", **fields).text)
    [hook] = ok(api.get(f"{path}/agent_runner_hooks"))
    assert hook["conditions"] == [{"place": "action", "equals": "opened"}]
    data = {"action": "opened", "issue": {"title": "<it>"}}
    sent = app.test_client().post(f"/api/v1/hooks/{hook['id']}", json=data, query_string={"secret": secret})
    assert sent.status_code == 202
    page = browser.page(f"{path}/automation")
    assert hook["url"] in page and secret not in page and "started for x" in page
    browser.post(f"{path}/hooks/{hook['id']}/stop")
    assert ok(api.get(f"{path}/agent_runner_hooks"))[0]["active"] is False
    browser.post(f"{path}/hooks/{hook['id']}/delete")
    assert ok(api.get(f"{path}/agent_runner_hooks")) == []
    reader = Browser(app.test_client())
    reader.post("/sign-in", token=ada.holding(Scope.READ).token)
    assert "needs the scope admin" in reader.post(f"{path}/hooks", **fields).text


def test_secrets_are_replaced(browser, api, make_site):
    site = make_site()
    created(api.post("/webhooks", {"url": "https://hooks.example.org/x"}))
    [webhook] = ok(api.get("/webhooks"))
    path = f"/account/webhooks/{webhook['id']}"
    assert secret_of(browser.post(f"{path}/rotate").text).startswith("whsec_")
    assert 'class="secret"' not in browser.page(path)
    hooks = f"/sites/{site['id']}/agent_runner_hooks"
    first = created(api.post(hooks, {"name": "Issues", "prompt": "Fix {{ issue.title }}"}))
    shown = browser.post(f"/sites/{site['id']}/hooks/{first['id']}/rotate").text
    assert "The secret of the hook “Issues”" in shown and secret_of(shown) != first["secret"]
    for unknown in (f"/account/webhooks/{site['id']}/rotate", f"/sites/{site['id']}/hooks/{site['id']}/rotate"):
        assert browser.post(unknown).status_code == 404


def test_a_site_has_a_webhook_for_its_forge(browser, api, make_site):
    site = make_site()
    path = f"/sites/{site['id']}/forge-webhook"
    made = browser.post(f"{path}/create", archive_merged="on", trigger_name="")
    webhook = ok(api.get(f"/sites/{site['id']}/forge_webhook"))
    assert webhook["url"] in made.text and (webhook["archive_merged"], webhook["trigger_name"]) == (
        True,
        "@agent-runners",
    )
    secret = secret_of(made.text)
    assert secret not in browser.page(f"/sites/{site['id']}/automation")
    assert browser.post(f"{path}/create", trigger_name="").status_code == 409
    assert browser.post(f"{path}/save", trigger_name="no name").status_code == 422
    assert (
        browser.post(f"{path}/save", trigger_name="@bot", on_failed_checks="suggest", max_fixes="2").status_code == 303
    )
    webhook = ok(api.get(f"/sites/{site['id']}/forge_webhook"))
    assert (webhook["archive_merged"], webhook["trigger_name"]) == (False, "@bot")
    assert (webhook["on_failed_checks"], webhook["max_fixes"]) == ("suggest", 2)
    assert secret_of(browser.post(f"{path}/rotate").text) != secret
    assert browser.post(f"{path}/delete").status_code == 303
    assert api.get(f"/sites/{site['id']}/forge_webhook").status_code == 404
    plain = make_site(repo_url="https://git.example.org/x.git")
    assert "Forge webhook" not in browser.page(f"/sites/{plain['id']}/automation")


def test_a_site_says_who_may_ask_on_its_forge(browser, api, make_site):
    site = make_site(forge="azure_devops")
    path, webhook = f"/sites/{site['id']}/forge-webhook", f"/sites/{site['id']}/forge_webhook"
    assert "Azure DevOps does not say who may write" in browser.page(f"/sites/{site['id']}/automation")
    browser.post(f"{path}/create", allowed_people="ada@example.org, grace@example.org")
    assert ok(api.get(webhook))["allowed_people"] == ["ada@example.org", "grace@example.org"]
    assert 'value="ada@example.org, grace@example.org"' in browser.page(f"/sites/{site['id']}/automation")
    many = ", ".join(f"person-{number}" for number in range(11))
    refused = browser.post(f"{path}/save", allowed_people=many)
    assert refused.status_code == 422 and "ada@example.org" in refused.text
    browser.post(f"{path}/save", allowed_people=" ")
    assert ok(api.get(webhook))["allowed_people"] is None
    ok(api.patch(webhook, {"allowed_people": []}))
    browser.post(f"{path}/save", allowed_people="")
    assert ok(api.get(webhook))["allowed_people"] == [], "still nobody may ask"


def test_a_delivery_about_an_issue_without_a_runner_links_to_none(browser, api, make_site):
    site = make_site(forge="gitlab")
    webhook = created(api.post(f"/sites/{site['id']}/forge_webhook", {"issue_label": "agent"}))
    opened = {"object_attributes": {"iid": 9, "action": "open", "description": "@agent-runners mend it"}, "labels": []}
    headers = {"X-Gitlab-Event": "Issue Hook", "X-Gitlab-Token": webhook["secret"]}
    sent = api.with_token(None).post(f"/forge_webhooks/{webhook['id']}", json=opened, headers=headers)
    assert sent.status_code == 202 and sent.json["id"]
    shown = browser.page(f"/sites/{site['id']}/automation")
    assert "issue of #9" in shown and "its runner" not in shown


def test_a_site_has_mcp_servers(browser, api, make_site):
    site = make_site()
    path = f"/sites/{site['id']}/mcp-servers"
    fields = {"replaces": "", "url": "", "command": "", "credential": "", "variables": "", "disabled_tools": ""}
    remote = {**fields, "name": "linear", "url": "https://mcp.example.org/<x>", "disabled_tools": "drop, purge"}
    assert browser.post(path, **remote).status_code == 303
    local = {**fields, "name": "notes", "command": "npx 'my notes'", "variables": "TOKEN"}
    assert browser.post(path, **local).status_code == 303
    first, second = ok(api.get(f"/sites/{site['id']}"))["mcp_servers"]
    assert first["disabled_tools"] == ["drop", "purge"] and second["command"] == ["npx", "my notes"]
    page = browser.page(f"/sites/{site['id']}")
    assert "npx &#39;my notes&#39;" in page and "https://mcp.example.org/&lt;x&gt;" in page
    assert browser.post(path, **{**remote, "replaces": "linear", "name": "tracker"}).status_code == 303
    assert [each["name"] for each in ok(api.get(f"/sites/{site['id']}"))["mcp_servers"]] == ["tracker", "notes"]
    for wrong in ({"command": "'x"}, {"url": "http://x"}, {"name": "notes"}):
        refused = browser.post(path, **{**remote, **wrong})
        assert refused.status_code == 422 and 'id="fold-mcp" open' in refused.text
    assert browser.post(f"{path}/tracker/delete").status_code == 303
    browser.post(f"{path}/notes/delete")
    assert ok(api.get(f"/sites/{site['id']}"))["mcp_servers"] is None
