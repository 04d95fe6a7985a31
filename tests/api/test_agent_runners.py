"""Creating, reading and changing runners."""

from __future__ import annotations

import base64
import re
import uuid

import pytest

from app import artifacts
from app.config import settings
from tests.api.calling import NOBODY, created, ok, patch_of, path_of, refused, session_path
from tests.stores import make_older

pytestmark = pytest.mark.same_on_both_databases

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
RUNNER_FIELDS = [
    "id",
    "site_id",
    "site_name",
    "parent_agent_runner_id",
    "state",
    "title",
    "branch",
    "result_branch",
    "sha",
    "base_deploy_id",
    "current_task",
    "created_at",
    "updated_at",
    "done_at",
    "last_session_created_at",
    "active_session_created_at",
    "has_result_diff",
    "contains_secret",
    "attached_file_keys",
    "latest_session_id",
    "latest_session_state",
    "latest_session_mode",
    "latest_session_agent",
    "awaiting_input",
    "questions",
    "waiting",
    "issue_number",
    "pr_url",
    "pr_branch",
    "pr_state",
    "pr_checks",
    "pr_checked_at",
    "pr_number",
    "pr_is_being_created",
    "pr_error",
    "merge_commit_sha",
    "merge_commit_error",
    "merge_commit_is_being_created",
    "base_sha",
    "behind_by",
    "mergeable",
    "conflicts",
    "is_being_refreshed",
    "refreshed_at",
    "refresh_error",
    "head_session_id",
    "usage",
    "user",
    "contributors",
]


def test_a_new_runner_shows_every_field_and_its_first_session(api, ada, make_site):
    site = make_site(name="shop", default_branch="trunk")
    response = api.post("/agent_runners", {"site_id": site["id"], "prompt": "# Add tests\nfor all of it"})
    runner = created(response)
    assert set(RUNNER_FIELDS) <= set(runner)
    assert response.headers["Location"] == f"http://testserver/api/v1/agent_runners/{runner['id']}"
    assert runner["state"] == runner["latest_session_state"] == "NEW"
    assert (runner["title"], runner["branch"], runner["site_name"]) == ("Add tests", "trunk", "shop")
    assert runner["latest_session_mode"] == "normal" and runner["attached_file_keys"] == []
    ada_json = {"id": str(ada.user.id), "full_name": "Ada", "email": "ada@example.org", "avatar_url": None}
    assert runner["user"] == ada_json and runner["contributors"] == [ada_json]
    assert MOMENT.fullmatch(runner["created_at"]) and MOMENT.fullmatch(runner["last_session_created_at"])
    assert runner["active_session_created_at"] == runner["last_session_created_at"]
    assert set(runner["usage"].values()) == {None}
    absent = ["parent_agent_runner_id", "sha", "base_sha", "done_at", "pr_url", "pr_state", "behind_by", "current_task"]
    assert all(runner[name] is None for name in [*absent, "issue_number"])
    assert ok(api.get(path_of(runner))) == runner
    session = ok(api.get(session_path(runner)))
    assert session["prompt"] == "# Add tests\nfor all of it" and session["state"] == "NEW"


def test_every_requested_option_is_stored(api, make_site):
    fields = {
        "site_id": make_site()["id"],
        "prompt": "Say hello.",
        "branch": "release/2",
        "sha": "a" * 40,
        "title": "Greeting",
        "agent": "codex",
        "model": "gpt-5.1-codex",
        "effort": "high",
        "mode": "ASK",
        "base_deploy_id": "deploy-7",
        "limits": {"max_duration_seconds": 60, "max_cost_usd": 1.5, "max_tokens": 1000},
    }
    runner = created(api.post("/agent_runners", fields))
    for name in ("branch", "sha", "title", "base_deploy_id"):
        assert runner[name] == fields[name]
    session = ok(api.get(session_path(runner)))
    assert session["agent_config"] == {"agent": "codex", "model": "gpt-5.1-codex", "effort": "high"}
    assert session["mode"] == "ask" and session["limits"] == fields["limits"]


def test_optional_fields_may_be_null(api, make_site):
    names = [
        "branch",
        "sha",
        "title",
        "agent",
        "model",
        "effort",
        "mode",
        "parent_agent_runner_id",
        "file_keys",
        "limits",
    ]
    fields = {"site_id": make_site()["id"], "prompt": "Say hello.", **dict.fromkeys(names)}
    assert created(api.post("/agent_runners", fields))["branch"] == "main"


def test_limits_stay_within_those_of_the_site(api, make_runner, make_site):
    site = make_site(max_duration_seconds=100, max_cost_usd=2)
    runner = make_runner(site=site, limits={"max_duration_seconds": 500, "max_cost_usd": 5})
    assert ok(api.get(session_path(runner)))["limits"] == {
        "max_duration_seconds": 100,
        "max_cost_usd": 2,
        "max_tokens": None,
    }


def test_a_child_begins_with_the_work_of_its_parent(api, make_done_runner, make_runner, make_site):
    site = make_site()
    parent = make_done_runner(site=site, branch="topic")
    child = make_runner(site=site, parent_agent_runner_id=parent["id"])
    assert child["parent_agent_runner_id"] == parent["id"] and child["branch"] == "topic"
    assert api.get(path_of(child, "/diff")).text == patch_of("one")


def test_a_parent_must_be_of_the_same_site(api, make_runner, make_site):
    fields = {"site_id": make_site()["id"], "prompt": "x", "parent_agent_runner_id": make_runner()["id"]}
    assert "parent_agent_runner_id" in refused(api.post("/agent_runners", fields), 422, "other_site")["errors"]


@pytest.mark.parametrize("site_id", [NOBODY, "shop", ""])
def test_an_unknown_site_answers_404(api, site_id):
    response = api.post("/agent_runners", {"site_id": site_id, "prompt": "x"})
    assert response.status_code == 404, response.text


@pytest.mark.parametrize("runner_id", [NOBODY, "12", "not-a-uuid", NOBODY[:-1], "%00"])
def test_an_unknown_runner_answers_404(api, runner_id):
    response = api.get(f"/agent_runners/{runner_id}")
    assert response.status_code == 404 and response.json["code"] == 404


def test_an_unknown_agent_is_refused(api, make_site):
    fields = {"site_id": make_site()["id"], "prompt": "x", "agent": "clippy"}
    assert "agent" in refused(api.post("/agent_runners", fields), 422, "unknown_agent")["errors"]


def test_the_queue_of_an_account_is_limited(api, make_runner, make_site, configure):
    configure(MAX_QUEUED_SESSIONS="1")
    site = make_site()
    make_runner(site=site)
    response = api.post("/agent_runners", {"site_id": site["id"], "prompt": "x"})
    refused(response, 429, "queue_full")
    assert int(response.headers["Retry-After"]) > 0


def test_title_sha_and_deploy_may_be_changed_before_the_first_claim(api, make_runner):
    runner = make_runner()
    changed = ok(api.patch(path_of(runner), {"title": "New", "sha": "b" * 40, "base_deploy_id": "d1"}))
    assert (changed["title"], changed["sha"], changed["base_deploy_id"]) == ("New", "b" * 40, "d1")
    assert changed["updated_at"] >= runner["updated_at"]
    assert ok(api.patch(path_of(runner), {}))["title"] == "New"
    assert ok(api.patch(path_of(runner), {"base_deploy_id": None}))["base_deploy_id"] is None


def test_the_sha_is_fixed_by_the_first_claim(api, make_done_runner):
    runner = make_done_runner(sha="a" * 40)
    for other in ("b" * 40, None):
        refused(api.patch(path_of(runner), {"sha": other}), 409, "already_started")
    assert ok(api.patch(path_of(runner), {"sha": "a" * 40}))["sha"] == "a" * 40
    assert ok(api.patch(path_of(runner), {"title": "Later"}))["title"] == "Later"


def test_a_replacement_diff_is_the_runners_until_the_next_session_which_builds_on_it(
    api, make_done_runner, worker, follow_up
):
    runner = make_done_runner()
    changed = ok(api.patch(path_of(runner), {"result_diff": patch_of("by hand")}))
    assert changed["has_result_diff"]
    assert api.get(path_of(runner, "/diff")).text == patch_of("by hand")
    follow = created(api.post(path_of(runner, "/sessions"), {"prompt": "More."}))
    claim = worker.claim(follow["id"])
    assert claim.session.start_diff_key == claim.runner.diff_key
    worker.finish(claim, diff=patch_of("both"))
    assert api.get(path_of(runner, "/diff")).text == patch_of("both")


def result_key() -> str:
    """The key of the only result diff."""
    [path] = (settings().artifacts / "agent-runner-sessions-diffs").rglob("result*.patch")
    return path.relative_to(settings().artifacts).as_posix()


def test_a_diff_may_be_replaced_by_its_key(api, make_done_runner, worker, make_runner):
    runner = make_done_runner()
    key = result_key()
    assert ok(api.patch(path_of(runner), {"result_diff_s3_key": key}))["has_result_diff"]
    for bad in (
        key.replace("/1/", "/2/"),
        f"agent-runner-sessions-diffs/{NOBODY}/x/1/result.patch",
        "../../secret.key",
    ):
        refused(api.patch(path_of(runner), {"result_diff_s3_key": bad}), 422, "bad_key")


def test_an_old_upload_replaces_a_diff_only_if_a_row_refers_to_it(api, make_done_runner):
    runner = make_done_runner()
    referred_to = result_key()
    lost = referred_to.replace("/1/", "/0/")
    artifacts.store().put(lost, [patch_of("lost").encode()])
    for key in (referred_to, lost):
        make_older(key, 48 * 3600)
    ok(api.patch(path_of(runner), {"result_diff_s3_key": referred_to}))
    refused(api.patch(path_of(runner), {"result_diff_s3_key": lost}), 422, "file_expired")


def test_content_that_is_not_a_diff_is_refused(api, make_done_runner):
    runner = make_done_runner()
    refused(api.patch(path_of(runner), {"result_diff": "hello"}), 422, "not_a_diff")
    assert not ok(api.patch(path_of(runner), {"result_diff": ""}))["has_result_diff"]


def test_a_diff_is_not_replaced_under_a_session_at_work(api, make_runner):
    refused(api.patch(path_of(make_runner()), {"result_diff": patch_of("x")}), 409, "active_session_exists")


def test_usage_is_the_sum_of_all_sessions(api, make_runner, worker, follow_up):
    runner = make_runner()
    worker.run(runner["latest_session_id"], usage={"input_tokens": 10, "cost_usd": 0.5})
    follow_up(runner, usage={"input_tokens": 5, "output_tokens": 2, "cost_usd": None})
    assert ok(api.get(path_of(runner)))["usage"] == {
        "input_tokens": 15,
        "output_tokens": 2,
        "cached_input_tokens": None,
        "cost_usd": 0.5,
        "tool_calls": None,
    }


def test_costs_are_shown_to_a_millionth(api, make_runner, worker, follow_up):
    runner = make_runner()
    worker.run(runner["latest_session_id"], usage={"cost_usd": 0.1 + 0.2})
    follow_up(runner, usage={"cost_usd": 0.018839999999999996})
    assert ok(api.get(path_of(runner)))["usage"]["cost_usd"] == 0.31884
    assert ok(api.get(session_path(runner)))["usage"] == {
        "input_tokens": None,
        "output_tokens": None,
        "cached_input_tokens": None,
        "cost_usd": 0.3,
        "tool_calls": None,
    }


def test_a_title_has_one_line(api, make_runner):
    runner = make_runner(title="Fix the\n  login\r\n")
    assert runner["title"] == "Fix the login"
    assert ok(api.patch(path_of(runner), {"title": "Fix\u2028the\tlogout"}))["title"] == "Fix the logout"


def test_an_empty_title_has_one_error(api, make_runner):
    refusal = refused(api.patch(path_of(make_runner()), {"title": ""}), 422, "invalid")
    assert refusal["errors"] == {"title": ["must not be blank"]}


def test_a_blank_title_is_refused_wherever_one_is_given(api, make_runner):
    runner = make_runner()
    for path in (path_of(runner), session_path(runner)):
        refused(api.patch(path, {"title": " \t"}), 422, "invalid")
    refused(api.post("/tokens", {"name": " ", "scope": "read"}), 422, "invalid")
    refused(api.patch(f"/sites/{runner['site_id']}", {"name": " "}), 422, "invalid")


def test_a_runner_whose_only_session_was_stopped_does_not_pass_for_work_done(api, make_runner):
    runner = make_runner()
    api.delete(path_of(runner))
    (shown,) = ok(api.get("/agent_runners"))
    assert (shown["state"], shown["latest_session_state"], shown["has_result_diff"]) == ("DONE", "CANCELLED", False)
    assert shown["head_session_id"] is None and set(shown["usage"].values()) == {None}
    refused(api.post(path_of(runner, "/pull_request"), {}), 422, "no_diff")
    refused(api.post(path_of(runner, "/commit"), {"target_branch": "x"}), 422, "no_diff")


def send_diff(api, runner, diff, form):
    """PATCH a diff in, inline or by the key of an upload."""
    if form == "inline":
        return api.patch(path_of(runner), {"result_diff": diff})
    key = f"user-uploaded-content/{runner_account(api, runner)}/{uuid.uuid4()}/change.patch"
    artifacts.store().put(key, [diff.encode()])
    return api.patch(path_of(runner), {"result_diff_s3_key": key})


def runner_account(api, runner):
    return ok(api.get(f"/sites/{runner['site_id']}"))["account_id"]


@pytest.mark.parametrize("form", ["inline", "key"])
def test_a_diff_is_checked_alike_inline_and_by_key(api, make_done_runner, form):
    runner = make_done_runner()
    field = "result_diff" if form == "inline" else "result_diff_s3_key"
    whole = patch_of("new")
    for damaged in ("this is no diff", whole.replace("+1 @@", "+1,2 @@"), whole + "more\n"):
        response = send_diff(api, runner, damaged, form)
        refused(response, 422, "not_a_diff")
        assert list(response.json["errors"]) == [field] and "line" in response.json["message"]
    assert api.get(path_of(runner, "/diff")).text == patch_of("one"), "what there was is still there"
    for sent in (whole, whole.rstrip("\n"), base64.b64encode(whole.encode()).decode()):
        ok(send_diff(api, runner, sent, form))
        assert api.get(path_of(runner, "/diff")).text == whole


CHANGE = "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-a\n+b\n"


def test_a_runner_can_start_with_a_diff(api, make_site):
    site = make_site()
    given = {"site_id": site["id"], "prompt": "Go on.", "agent": "claude", "result_diff": CHANGE}
    runner = created(api.post("/agent_runners", given))
    assert runner["has_result_diff"] and api.get(path_of(runner, "/diff")).text == CHANGE
    assert not created(api.post("/agent_runners", {**given, "result_diff": ""}))["has_result_diff"]


def test_a_runner_starts_with_nothing_that_is_no_diff_or_comes_twice(api, make_site, make_done_runner):
    parent = make_done_runner()
    given = {"site_id": parent["site_id"], "prompt": "Go on.", "agent": "claude", "result_diff": CHANGE}
    refused(api.post("/agent_runners", {**given, "result_diff": "hello"}), 422, "not_a_diff")
    refused(api.post("/agent_runners", {**given, "result_diff": "x" * (1 << 23)}), 413, "too_large")
    refused(api.post("/agent_runners", {**given, "result_diff": 5}), 422, "invalid")
    refused(api.post("/agent_runners", {**given, "parent_agent_runner_id": parent["id"]}), 422, "two_diffs")
    refused(api.post("/agent_runners", {**given, "site_id": NOBODY}), 404, "site_not_found")
