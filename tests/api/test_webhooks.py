"""Webhooks as their owners see them."""

from __future__ import annotations

import pytest

from app.models.states import Scope
from tests.api.calling import created, ok

URL = "https://hooks.example.org/in?from=us"
pytestmark = pytest.mark.same_on_both_databases


def test_a_webhook_is_created_changed_and_deleted(api, make_site):
    site = make_site()
    webhook = created(api.post("/webhooks", {"url": URL, "events": ["session.done"]}))
    assert webhook["secret"].startswith("whsec_") and webhook["state"] == "active"
    path = f"/webhooks/{webhook['id']}"
    assert "secret" not in ok(api.get(path)) and [each["id"] for each in ok(api.get("/webhooks"))] == [webhook["id"]]
    changed = ok(api.patch(path, {"site_id": site["id"], "active": False, "events": []}))
    assert (changed["site_id"], changed["state"], changed["events"], changed["url"]) == (
        site["id"],
        "disabled",
        [],
        URL,
    )
    assert ok(api.patch(path, {"active": True}))["state"] == "active"
    assert ok(api.post(f"{path}/rotate_secret"))["secret"] != webhook["secret"]
    assert ok(api.get(f"{path}/deliveries")) == []
    assert api.delete(path).status_code == 204 and api.get(path).status_code == 404


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://hooks.example.org/", "bad_webhook_url"),
        # Without an id of its own, pytest-xdist would take what follows the @ for a group.
        pytest.param("https://user:password@hooks.example.org/", "bad_webhook_url", id="credentials"),
        ("ftp://hooks.example.org/", "bad_webhook_url"),
        ("https://", "bad_webhook_url"),
        ("https://127.0.0.1/", "private_address"),
        ("https://169.254.169.254/latest", "private_address"),
    ],
)
def test_an_address_that_workers_may_not_call_is_refused(api, url, code):
    answer = api.post("/webhooks", {"url": url})
    assert (answer.status_code, answer.json["error_code"]) == (422, code)


def test_the_url_of_a_chat_is_not_shown_again(api):
    secret = "https://hooks.slack.com/services/T0/B0/not-to-be-shown"
    made = created(api.post("/webhooks", {"url": secret, "format": "slack"}))
    path = f"/webhooks/{made['id']}"
    changed = api.patch(path, {"url": f"{secret}-either"})
    assert made["url"] == ok(changed)["url"] == "https://hooks.slack.com/..." and made["format"] == "slack"
    assert "not-to-be-shown" not in str(ok(api.get("/webhooks"))) + str(ok(api.get(path))) + str(made)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"url": "https://ntfy.sh/", "format": "ntfy"}, "bad_webhook_url"),
        ({"url": "https://127.0.0.1/topic", "format": "ntfy"}, "private_address"),
        ({"url": URL, "format": "pager"}, "invalid"),
    ],
)
def test_a_chat_that_cannot_be_sent_to_is_refused(api, fields, code):
    answer = api.post("/webhooks", fields)
    assert (answer.status_code, answer.json["error_code"]) == (422, code)
    made = created(api.post("/webhooks", {"url": URL}))
    assert api.patch(f"/webhooks/{made['id']}", {"format": "slack"}).status_code == 422, "what it sends stays"


def test_an_e_mail_goes_to_one_plain_address_where_there_is_a_mail_server(api, configure):
    refused = api.post("/webhooks", {"url": "mailto:ada@example.org"})
    assert (refused.status_code, refused.json["error_code"]) == (422, "email_not_configured")
    configure(SMTP_URL="smtp://localhost:25", SMTP_FROM="runners@example.org")
    made = created(api.post("/webhooks", {"url": "mailto:ada+runs@example.org"}))
    assert (made["format"], made["url"]) == ("email", "mailto:ada+runs@example.org")
    two, header = "mailto:a@example.org,b@example.org", "mailto:a@example.org?bcc=b@example.org"
    for url in (
        two,
        header,
        "mailto:root@localhost",
        "mailto:",
        'mailto:"a b"@example.org',
        "https://hooks.example.org/",
    ):
        answer = api.patch(f"/webhooks/{made['id']}", {"url": url})
        assert (answer.status_code, answer.json["error_code"]) == (422, "bad_webhook_url"), url
    other = api.post("/webhooks", {"url": "mailto:ada@example.org", "format": "slack"})
    assert (other.status_code, other.json["error_code"]) == (422, "bad_webhook_url")


def test_only_administrators_send_events_elsewhere(ada, api):
    webhook = created(api.post("/webhooks", {"url": URL}))
    writer = ada.holding(Scope.WRITE)
    assert ok(writer.get(f"/webhooks/{webhook['id']}"))["id"] == webhook["id"]
    for answer in (
        writer.post("/webhooks", {"url": URL}),
        writer.patch(f"/webhooks/{webhook['id']}", {"url": URL}),
        writer.post(f"/webhooks/{webhook['id']}/rotate_secret"),
        writer.delete(f"/webhooks/{webhook['id']}"),
    ):
        assert (answer.status_code, answer.json["error_code"]) == (403, "scope_missing")


def test_another_account_sees_and_uses_nothing_of_it(api, join, make_site):
    webhook = created(api.post("/webhooks", {"url": URL}))
    bob = join("Bob").admin
    assert ok(bob.get("/webhooks")) == [] and bob.get(f"/webhooks/{webhook['id']}").status_code == 404
    refused = bob.post("/webhooks", {"url": URL, "site_id": make_site()["id"]})
    assert (refused.status_code, refused.json["error_code"]) == (404, "site_not_found")


def test_an_account_has_few(api):
    for _ in range(20):
        created(api.post("/webhooks", {"url": URL}))
    refused = api.post("/webhooks", {"url": URL})
    assert (refused.status_code, refused.json["error_code"]) == (409, "too_many_webhooks")
