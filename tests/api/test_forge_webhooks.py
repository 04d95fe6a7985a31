"""The webhook of a site's forge as its owners see it, and what is taken from the forge."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid

import pytest
import sqlalchemy as sa

from app import db
from app.models import AgentRunner, ForgeDelivery
from app.models.states import ForgeDeliveryState, PullRequestState, Scope
from app.services.forge_webhooks import deliveries
from tests.api.calling import NOBODY, created, empty, ok, refused

pytestmark = pytest.mark.same_on_both_databases
CLOSED = {"action": "closed", "pull_request": {"number": 7, "merged": True}}


@pytest.fixture
def webhook_of(api, make_site):
    def make(**site):
        given = make_site(**{"repo_url": "https://github.com/example/shop.git", **site})
        return created(api.post(f"/sites/{given['id']}/forge_webhook", {"archive_merged": True}))

    return make


@pytest.fixture
def runner_with_pull_request(make_runner):
    """A runner of the webhook's site, with the pull request 7."""

    def make(webhook):
        runner = make_runner(site={"id": webhook["site_id"]})
        with db.transaction():
            values = {"pr_number": 7, "pr_state": PullRequestState.OPEN}
            db.session.execute(
                sa.update(AgentRunner).where(AgentRunner.site_id == uuid.UUID(webhook["site_id"])).values(values)
            )
        return runner

    return make


def signed(webhook, body, event="pull_request", delivery_id="d1", **headers):
    digest = hmac.new(webhook["secret"].encode(), body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery_id,
        "X-Hub-Signature-256": f"sha256={digest}",
        **headers,
    }


@pytest.fixture
def deliver(api):
    """Deliver JSON to a webhook, as GitHub does."""

    def post(webhook, data=CLOSED, **options):
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        given = api.with_token(None)
        return given.post(f"/forge_webhooks/{webhook['id']}", data=body, headers=signed(webhook, body, **options))

    return post


def accepted(response):
    assert response.status_code == 202, response.text
    return response.json["id"]


def path(webhook, rest=""):
    return f"/sites/{webhook['site_id']}/forge_webhook{rest}"


def test_a_webhook_is_created_once_changed_and_deleted(api, webhook_of, deliver, runner_with_pull_request):
    webhook = webhook_of()
    assert webhook["secret"].startswith("whsec_") and webhook["archive_merged"] is True
    assert webhook["url"].endswith(f"/api/v1/forge_webhooks/{webhook['id']}")
    assert "secret" not in ok(api.get(path(webhook)))
    refused(api.post(path(webhook)), 409, "forge_webhook_exists")
    assert webhook["trigger_name"] == "@agent-runners"
    changed = ok(api.patch(path(webhook), {"archive_merged": False, "trigger_name": "/fix"}))
    assert (changed["archive_merged"], changed["trigger_name"]) == (False, "/fix")
    refused(api.patch(path(webhook), {"trigger_name": "two words"}), 422, "invalid")
    assert (webhook["on_failed_checks"], webhook["max_fixes"]) == ("off", 3)
    changed = ok(api.patch(path(webhook), {"on_failed_checks": "automatic", "max_fixes": 1}))
    assert (changed["on_failed_checks"], changed["max_fixes"]) == ("automatic", 1)
    assert (webhook["issue_label"], webhook["allowed_people"]) == (None, None)
    changed = ok(api.patch(path(webhook), {"issue_label": "agent", "allowed_people": ["ada"]}))
    assert (changed["issue_label"], changed["allowed_people"]) == ("agent", ["ada"])
    wrong_values = ({"on_failed_checks": "on"}, {"max_fixes": 0}, {"max_fixes": 21}, {"issue_label": " "})
    for wrong in wrong_values:
        refused(api.patch(path(webhook), wrong), 422, "invalid")
    assert ok(api.post(path(webhook, "/rotate_secret")))["secret"] != webhook["secret"]
    refused(deliver(webhook), 401, "forge_webhook_secret_wrong")
    empty(api.delete(path(webhook)), 204)
    refused(api.get(path(webhook)), 404, "forge_webhook_not_found")
    created(api.post(path(webhook)))


def test_a_site_without_pull_requests_has_no_webhook(api, make_site):
    site = make_site(forge="none")
    refused(api.post(f"/sites/{site['id']}/forge_webhook"), 422, "forge_without_pull_requests")


@pytest.mark.parametrize("forge", ["bitbucket", "bitbucket_data_center"])
def test_where_issues_start_nothing_no_label_is_set(api, make_site, forge):
    webhook = f"/sites/{make_site(forge=forge)['id']}/forge_webhook"
    refused(api.post(webhook, {"issue_label": "agent"}), 422, "forge_without_issues")
    assert created(api.post(webhook, {"issue_label": None}))["issue_label"] is None
    refused(api.patch(webhook, {"issue_label": "agent"}), 422, "forge_without_issues")
    assert ok(api.patch(webhook, {"max_fixes": 2}))["max_fixes"] == 2


def test_issues_are_not_followed_where_they_belong_to_no_repository(api, make_site):
    site = make_site(repo_url="https://dev.azure.com/acme/My%20Project/_git/app")
    assert site["forge"] == "azure_devops"
    hook = f"/sites/{site['id']}/forge_webhook"
    refused(api.post(hook, {"issue_label": "agent"}), 422, "forge_without_issues")
    webhook = created(api.post(hook, {"allowed_people": ["ada@example.org"], "issue_label": None}))
    refused(api.patch(hook, {"issue_label": "agent"}), 422, "forge_without_issues")
    event = {"eventType": "git.pullrequest.updated", "resource": {"pullRequestId": 7}}
    for secret, status in ((webhook["secret"], 202), ("wrong", 401)):
        pair = base64.b64encode(f"any:{secret}".encode()).decode()
        headers = {"Content-Type": "application/json; charset=utf-8", "Authorization": f"Basic {pair}"}
        given = api.with_token(None)
        answer = given.post(f"/forge_webhooks/{webhook['id']}", data=json.dumps(event).encode(), headers=headers)
        assert answer.status_code == status, answer.text


def test_only_administrators_create_and_change_it(ada, webhook_of):
    webhook = webhook_of()
    writer = ada.holding(Scope.WRITE)
    for call in (
        writer.post(path(webhook)),
        writer.patch(path(webhook), {"archive_merged": False}),
        writer.post(path(webhook, "/rotate_secret")),
        writer.delete(path(webhook)),
    ):
        refused(call, 403, "scope_missing")
    assert ok(ada.holding(Scope.READ).get(path(webhook)))["id"] == webhook["id"]


def test_a_delivery_about_the_pull_request_of_a_runner_is_recorded_once(
    api, webhook_of, runner_with_pull_request, deliver
):
    webhook = webhook_of()
    runner = runner_with_pull_request(webhook)
    first = accepted(deliver(webhook))
    assert [accepted(deliver(webhook)) for _ in range(2)] == [first, first]
    [listed] = ok(api.get(path(webhook, "/deliveries")))
    assert (listed["id"], listed["agent_runner_id"], listed["state"]) == (first, runner["id"], "pending")
    assert (listed["delivery_id"], listed["event"], listed["number"]) == ("d1", "pull_request", 7)


def test_however_many_deliveries_come_one_waits_for_each_pull_request(
    api, webhook_of, runner_with_pull_request, deliver
):
    webhook = webhook_of()
    runner_with_pull_request(webhook)
    first = accepted(deliver(webhook))
    assert {accepted(deliver(webhook, delivery_id=given)) for given in ("d2", "d3", "")} == {first}
    with db.transaction():
        claim = deliveries.claim(uuid.UUID(first))
        assert claim is not None
    # What a worker has begun to read may be older than the next delivery.
    second = accepted(deliver(webhook, delivery_id="d4"))
    assert second != first and accepted(deliver(webhook, delivery_id="d5")) == second
    with db.transaction():
        deliveries.fail(claim, "The forge does not answer.", retryable=True)
    assert accepted(deliver(webhook, delivery_id="d6")) in (first, second), "it is tried again anyway"
    with db.transaction():
        ended = {ForgeDelivery.state: ForgeDeliveryState.DONE}
        db.session.execute(sa.update(ForgeDelivery).values(ended))
    without_id = [accepted(deliver(webhook, delivery_id="")) for _ in range(2)]
    assert without_id[0] == without_id[1] and without_id[0] not in (first, second)


def test_more_comments_than_may_wait_are_refused(webhook_of, runner_with_pull_request, deliver):
    webhook = webhook_of()
    runner_with_pull_request(webhook)

    def comment(number):
        about = {"issue": {"number": 7, "pull_request": {}}, "comment": {"id": number, "body": "@agent-runners hurry"}}
        return deliver(webhook, {"action": "created", **about}, event="issue_comment", delivery_id=f"c{number}")

    first = accepted(comment(1))
    with db.transaction():
        row = db.session.get_one(ForgeDelivery, uuid.UUID(first))
        same = {column.key: getattr(row, column.key) for column in sa.inspect(ForgeDelivery).column_attrs}
        others = [
            {**same, "id": db.new_id(), "delivery_id": f"c{number}", "subject_id": number}
            for number in range(2, deliveries.MOST_PENDING + 1)
        ]
        db.session.execute(sa.insert(ForgeDelivery), others)
    response = comment(deliveries.MOST_PENDING + 1)
    refused(response, 429, "queue_full")
    assert response.headers["Retry-After"] == "60"
    assert accepted(comment(1)) == first


IGNORED = [
    ("ping", {"zen": "Keep it logically awesome."}),
    ("push", {"ref": "refs/heads/main"}),
    ("pull_request", {"action": "closed", "pull_request": {"number": 8}}),
    ("pull_request", {"action": "closed"}),
    ("pull_request", {"pull_request": [1]}),
    ("pull_request", {"pull_request": {"number": "7"}}),
    ("pull_request", {"pull_request": {"number": True}}),
    ("pull_request", {"pull_request": {"number": 10**30}}),
    ("status", {"state": "failure", "branches": [{"name": "\ud800"}]}),
]


def test_anything_else_is_accepted_and_ignored(api, webhook_of, runner_with_pull_request, deliver):
    webhook = webhook_of()
    runner_with_pull_request(webhook)
    for event, data in IGNORED:
        assert accepted(deliver(webhook, data, event=event)) is None
        assert ok(api.get(path(webhook, "/deliveries"))) == []


def test_a_comment_is_recorded_if_it_mentions_the_trigger_name(api, webhook_of, runner_with_pull_request, deliver):
    webhook = webhook_of()
    runner_with_pull_request(webhook)

    def comment(text, comment_id=1, **more):
        issue = {"number": 7, "pull_request": {}}
        return {"action": "created", "issue": issue, "comment": {"id": comment_id, "body": text}, **more}

    ignored = [comment("Well done."), comment("@agent-runners", "1"), comment("@agent-runners", 2**63)]
    ignored += [
        comment("@agent-runners", issue={"number": 7}),
        comment(None),
        comment("@agent-runners", action="edited"),
    ]
    for number, data in enumerate(ignored):
        assert accepted(deliver(webhook, data, event="issue_comment", delivery_id=f"i{number}")) is None
    asked = [
        accepted(deliver(webhook, comment("@agent-runners mend it", 5), event="issue_comment", delivery_id=delivery_id))
        for delivery_id in ("d1", "d1", "d2")
    ]
    assert asked[0] is not None and len(set(asked)) == 1, "one for a comment, however it is delivered"
    [listed] = ok(api.get(path(webhook, "/deliveries")))
    shown = (listed["event"], listed["state"], listed["session_id"], listed["author"])
    assert shown == ("comment", "pending", None, None)


def test_an_issue_is_recorded_if_it_has_the_label_or_mentions_the_trigger_name(api, webhook_of, deliver):
    webhook = webhook_of()
    labelled = {"action": "labeled", "issue": {"number": 9}, "label": {"name": "Agent"}}
    assert accepted(deliver(webhook, labelled, event="issues")) is None, "issues are off"
    ok(api.patch(path(webhook), {"issue_label": "agent"}))
    ignored = [{**labelled, "label": {"name": "bug"}}, {**labelled, "label": None}, {**labelled, "issue": {}}]
    ignored += [{**labelled, "action": "closed"}, {"action": "opened", "issue": {"number": 9, "body": None}}]
    for number, data in enumerate(ignored):
        assert accepted(deliver(webhook, data, event="issues", delivery_id=f"i{number}")) is None
    first = accepted(deliver(webhook, labelled, event="issues"))
    opened = {"action": "opened", "issue": {"number": 9, "body": "@agent-runners do it"}}
    assert accepted(deliver(webhook, opened, event="issues", delivery_id="d2")) == first
    [listed] = ok(api.get(path(webhook, "/deliveries")))
    assert (listed["event"], listed["number"], listed["agent_runner_id"]) == ("issue", 9, None)


def test_the_pull_request_of_another_site_is_not_touched(api, webhook_of, runner_with_pull_request, deliver):
    webhook, other = webhook_of(), webhook_of()
    runner_with_pull_request(webhook)
    assert accepted(deliver(other)) is None
    refused(deliver({**other, "id": webhook["id"]}), 401, "forge_webhook_secret_wrong")


def test_without_the_signature_nothing_is_taken_or_said(api, webhook_of, runner_with_pull_request, deliver):
    webhook = webhook_of()
    runner_with_pull_request(webhook)
    wrong = {**webhook, "secret": "whsec_AAAA"}
    answers = [deliver(wrong), deliver({**webhook, "id": NOBODY}), deliver(wrong, b"{"), deliver(wrong, b"[1]")]
    for answer in answers:
        refused(answer, 401, "forge_webhook_secret_wrong")
    assert len({answer.json["message"] for answer in answers}) == 1
    empty(api.delete(f"/agent_runners/{ok(api.get('/agent_runners'))[0]['id']}"), 202)
    empty(api.delete(f"/sites/{webhook['site_id']}"), 204)
    refused(deliver(webhook), 401, "forge_webhook_secret_wrong")


def test_what_is_no_json_object_is_refused(webhook_of, deliver):
    webhook = webhook_of()
    for body, options, status, code in [
        (b"payload=%7B%7D", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        (b"{", {}, 400, "malformed_json"),
        (b"[1]", {}, 422, "invalid"),
        (b'"' + b"x" * (1 << 20) + b'"', {}, 413, "too_large"),
        (b"{}", {"delivery_id": "x" * 201}, 422, "invalid"),
    ]:
        refused(deliver(webhook, body, **options), status, code)
