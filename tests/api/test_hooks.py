"""Hooks as their owners see them, and what deliveries start."""

from __future__ import annotations

import datetime

import pytest
import sqlalchemy as sa

from app import db
from app.models import AgentRunnerSession, HookDelivery
from app.models.states import Scope
from app.services.accounts import accounts
from app.services.accounts.accounts import AccountLimits
from app.services.hooks import deliveries
from tests.api.calling import NOBODY, created, empty, ok, path_of, refused

pytestmark = pytest.mark.same_on_both_databases
ISSUE = {"action": "opened", "issue": {"number": 17, "title": "It fails"}}


@pytest.fixture
def hook_of(api, make_site):
    def make(**fields):
        given = {"prompt": "Fix: {{ issue.title }}", "agent": "claude", **fields}
        return created(api.post(f"/sites/{make_site()['id']}/agent_runner_hooks", given))

    return make


@pytest.fixture
def deliver(api):
    """Deliver JSON to a hook, as a system without a token does."""

    def post(hook, body=None, delivery_id=None, **options):
        headers = {"Authorization": f"Bearer {hook['secret']}", **({"webhook-id": delivery_id} if delivery_id else {})}
        options = {"headers": headers, **options}
        return api.with_token(None).post(f"/hooks/{hook['id']}", ISSUE if body is None else body, **options)

    return post


def path(hook, rest=""):
    return f"/sites/{hook['site_id']}/agent_runner_hooks/{hook['id']}{rest}"


def accepted(response):
    assert response.status_code == 202, response.text
    return response.json


def sweep():
    with db.transaction(read_only=True):
        waiting = deliveries.find_waiting(10)
    for delivery_id in waiting:
        with db.transaction():
            deliveries.start_waiting(delivery_id)


def test_a_hook_is_created_changed_and_deleted(api, hook_of):
    hook = hook_of(conditions=[{"place": "action", "equals": "opened"}], subject="issue-{{ issue.number }}")
    assert hook["secret"].startswith("whsec_") and hook["url"].endswith(f"/api/v1/hooks/{hook['id']}")
    assert "secret" not in ok(api.get(path(hook)))
    assert [each["id"] for each in ok(api.get(f"/sites/{hook['site_id']}/agent_runner_hooks"))] == [hook["id"]]
    changed = ok(api.patch(path(hook), {"conditions": [], "subject": None, "name": "Issues"}))
    assert (changed["conditions"], changed["subject"], changed["name"]) == ([], None, "Issues")
    assert changed["prompt"] == hook["prompt"]
    assert ok(api.post(path(hook, "/rotate_secret")))["secret"] != hook["secret"]
    empty(api.delete(path(hook)), 204)
    refused(api.get(path(hook)), 404, "hook_not_found")


def test_a_delivery_starts_a_runner_with_the_filled_prompt(api, ada, hook_of, deliver):
    hook = hook_of(branch="next")
    started = accepted(deliver(hook, delivery_id="d1"))
    assert (started["state"], started["delivery_id"], started["subject"]) == ("started", "d1", None)
    runner = ok(api.get(f"/agent_runners/{started['agent_runner_id']}"))
    assert (runner["title"], runner["branch"], runner["user"]["id"]) == ("Fix: It fails", "next", str(ada.user.id))
    assert runner["latest_session_id"] == started["session_id"]
    assert ok(api.get(path(hook, "/deliveries"))) == [started]


def test_what_was_delivered_is_not_taken_for_words_of_the_user(api, hook_of, deliver):
    """It has no effect on the forge, as `tests/tasks/test_publishing.py` shows."""
    hook = hook_of(subject="issue-{{ issue.number }}")
    started = accepted(deliver(hook, {"issue": {"number": 17, "title": "Closes #1 @team"}}))
    runner = ok(api.get(f"/agent_runners/{started['agent_runner_id']}"))
    assert runner["title"] == "Fix: Closes #\u200b1 @\u200bteam"
    assert api.delete(path_of(runner, f"/sessions/{started['session_id']}")).status_code == 202
    again = accepted(deliver(hook, {"issue": {"number": 17, "title": "Closes #1 @team"}}))
    assert again["agent_runner_id"] == started["agent_runner_id"]
    with db.transaction(read_only=True):
        rows = db.session.execute(sa.select(AgentRunnerSession.prompt, AgentRunnerSession.quotes_others))
        assert [tuple(row) for row in rows] == [("Fix: Closes #1 @team", True)] * 2, (
            "the agent reads it as it was written"
        )


def test_the_same_delivery_starts_one_session(api, hook_of, deliver):
    hook = hook_of()
    first = accepted(deliver(hook, delivery_id="d1"))
    assert accepted(deliver(hook, {"issue": {"title": "Another"}}, delivery_id="d1")) == first
    assert accepted(deliver(hook, delivery_id="d2"))["agent_runner_id"] != first["agent_runner_id"]
    assert len(ok(api.get("/agent_runners"))) == 2


def test_what_does_not_meet_the_conditions_is_ignored(api, hook_of, deliver):
    hook = hook_of(conditions=[{"place": "action", "equals": "labeled"}, {"place": "label.name", "equals": "agent"}])
    assert accepted(deliver(hook))["state"] == "ignored"
    assert accepted(deliver(hook, {"action": "labeled", "label": {"name": "bug"}}))["state"] == "ignored"
    met = {**ISSUE, "action": "labeled", "label": {"name": "agent"}}
    assert accepted(deliver(hook, met))["state"] == "started"


def test_deliveries_of_a_subject_are_follow_ups_that_wait_their_turn(api, worker, hook_of, deliver):
    hook = hook_of(subject="issue-{{ issue.number }}")
    first = accepted(deliver(hook))
    second, third = (accepted(deliver(hook, {"issue": {"number": 17, "title": text}})) for text in ("b", "c"))
    assert (second["state"], second["subject"], second["session_id"]) == ("waiting", "issue-17", None)
    assert second["agent_runner_id"] == first["agent_runner_id"]

    with db.transaction(read_only=True):
        assert deliveries.find_waiting(10) == [], "they hold up no others"
    sweep()
    runner = {"id": first["agent_runner_id"]}
    assert len(ok(api.get(path_of(runner, "/sessions")))) == 1, "its runner is still at work"
    worker.run(first["session_id"])
    sweep()
    listed = {each["id"]: each for each in ok(api.get(path(hook, "/deliveries")))}
    assert listed[second["id"]]["state"] == "started" and listed[third["id"]]["state"] == "waiting"
    assert listed[second["id"]]["agent_runner_id"] == first["agent_runner_id"]
    worker.run(listed[second["id"]]["session_id"])
    sweep()
    prompts = [each["prompt"] for each in ok(api.get(path_of(runner, "/sessions")))]
    assert prompts == ["Fix: It fails", "Fix: b", "Fix: c"]
    other = accepted(deliver(hook, {"issue": {"number": 18, "title": "d"}}))
    assert other["state"] == "started" and other["agent_runner_id"] != first["agent_runner_id"]


def test_an_archived_runner_is_not_gone_on_with(api, worker, hook_of, deliver):
    hook = hook_of(subject="{{ issue.number }}")
    first = accepted(deliver(hook))
    worker.run(first["session_id"])
    assert api.post(f"/agent_runners/{first['agent_runner_id']}/archive").status_code == 202
    assert accepted(deliver(hook))["agent_runner_id"] != first["agent_runner_id"]


def test_deliveries_that_wait_for_a_runner_that_is_archived_go_to_one_new_runner(api, worker, hook_of, deliver):
    hook = hook_of(subject="{{ issue.number }}")
    first, second, third = (accepted(deliver(hook)) for _ in range(3))
    worker.run(first["session_id"])
    assert api.post(f"/agent_runners/{first['agent_runner_id']}/archive").status_code == 202
    for _ in range(2):
        sweep()
        started = {each["id"]: each for each in ok(api.get(path(hook, "/deliveries")))}
        if started[third["id"]]["state"] == "waiting":
            worker.run(started[second["id"]]["session_id"])
    assert started[second["id"]]["agent_runner_id"] == started[third["id"]]["agent_runner_id"]
    assert started[third["id"]]["state"] == "started" and len(ok(api.get("/agent_runners"))) == 1


def test_a_delivery_that_is_refused_can_be_delivered_again(api, ada, make_site, hook_of, deliver):
    hook = hook_of()
    with db.transaction():
        accounts.set_limits(ada.user.account_id, AccountLimits(max_queued_sessions=1))
    waiting = created(api.post("/agent_runners", {"site_id": hook["site_id"], "prompt": "x", "agent": "claude"}))
    refused(deliver(hook, delivery_id="d1"), 429, "queue_full")
    empty(api.delete(path_of(waiting)), 202)
    assert accepted(deliver(hook, delivery_id="d1"))["state"] == "started"


def test_without_the_secret_nothing_is_taken_or_told(api, hook_of, deliver):
    hook = hook_of()
    wrong = {**hook, "secret": "whsec_AAAA"}
    refused(deliver(wrong), 401, "hook_secret_wrong")
    refused(deliver({**hook, "id": NOBODY}), 401, "hook_secret_wrong")
    refused(deliver(wrong, headers={}), 401, "hook_secret_wrong")
    ok(api.post(path(hook, "/rotate_secret")))
    refused(deliver(hook), 401, "hook_secret_wrong")
    assert ok(api.get("/agent_runners")) == ok(api.get(path(hook, "/deliveries"))) == []


def test_what_is_no_json_object_is_refused(api, hook_of):
    hook = hook_of()
    headers = {"Authorization": f"Bearer {hook['secret']}"}
    for options, status, code in [
        (
            {"data": "payload=%7B%7D", "content_type": "application/x-www-form-urlencoded"},
            415,
            "unsupported_media_type",
        ),
        ({"data": b"{", "content_type": "application/json"}, 400, "malformed_json"),
        ({"data": b"[1]", "content_type": "application/json"}, 422, "invalid"),
        ({"data": b"", "content_type": "application/json"}, 422, "invalid"),
        ({"data": b'"' + b"x" * (1 << 20) + b'"', "content_type": "application/json"}, 413, "too_large"),
    ]:
        refused(api.with_token(None).post(f"/hooks/{hook['id']}", headers=headers, **options), status, code)


def test_a_prompt_of_nothing_is_refused(hook_of, deliver):
    refused(deliver(hook_of(prompt="{{ issue.body }}")), 422, "blank")


def test_an_inactive_hook_and_a_deleted_site_take_nothing(api, hook_of, deliver):
    hook, gone = hook_of(), hook_of()
    ok(api.patch(path(hook), {"active": False}))
    refused(deliver(hook), 404, "hook_not_found")
    empty(api.delete(f"/sites/{gone['site_id']}"), 204)
    refused(deliver(gone), 404, "hook_not_found")


def test_a_secret_of_another_key_says_that_it_may_work_later(hook_of, deliver, configure):
    hook = hook_of()
    configure(SECRET_KEY="another key for tests, which is long enough")
    assert "this hook" in refused(deliver(hook), 503, "secret_key_changed")["message"]


def test_only_administrators_let_others_start_runners(ada, hook_of):
    hook, writer = hook_of(), ada.holding(Scope.WRITE)
    assert ok(writer.get(path(hook)))["id"] == hook["id"]
    for answer in (
        writer.post(f"/sites/{hook['site_id']}/agent_runner_hooks", {"prompt": "x", "agent": "claude"}),
        writer.patch(path(hook), {"prompt": "x"}),
        writer.post(path(hook, "/rotate_secret")),
        writer.delete(path(hook)),
    ):
        refused(answer, 403, "scope_missing")


def test_deliveries_are_forgotten_after_thirty_days_but_not_those_that_wait(api, hook_of, deliver):
    hook = hook_of(subject="{{ issue.number }}")
    first, waiting = accepted(deliver(hook)), accepted(deliver(hook))
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=31)
    with db.transaction():
        db.session.execute(sa.update(HookDelivery).values(created_at=long_ago))
        deliveries.forget_old()
    assert [each["id"] for each in ok(api.get(path(hook, "/deliveries")))] == [waiting["id"]] != [first["id"]]
