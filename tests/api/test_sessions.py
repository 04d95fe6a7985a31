"""Sessions: asking for one, reading them, stopping them, archiving their runner."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa

from app import db
from app.models.states import Scope, SessionState, Stage
from app.services.execution import progress, session_attempts
from app.services.execution.outcomes import Failure
from tests.api.calling import NOBODY, created, empty, ok, patch_of, path_of, refused, session_path
from tests.services.conftest import write

pytestmark = pytest.mark.same_on_both_databases

SESSION_FIELDS = [
    "id",
    "agent_runner_id",
    "state",
    "mode",
    "title",
    "prompt",
    "agent_config",
    "taken_over_by",
    "result",
    "stage",
    "waiting",
    "current_task",
    "failure",
    "duration",
    "steps",
    "steps_count",
    "may_ask",
    "prompt_truncated",
    "result_truncated",
    "questions",
    "attempt",
    "parent_session_id",
    "continues_session_id",
    "native_session_id",
    "agent_version",
    "created_at",
    "updated_at",
    "started_at",
    "done_at",
    "commit_sha",
    "base_sha",
    "result_branch",
    "attached_file_keys",
    "is_discarded",
    "has_result_diff",
    "has_cumulative_diff",
    "contains_secret",
    "limits",
    "usage",
    "user",
]


def test_a_new_session_shows_every_field(api, make_runner):
    runner = make_runner()
    session = ok(api.get(session_path(runner)))
    assert set(SESSION_FIELDS) <= set(session)
    absent = ["title", "result", "current_task", "failure", "duration", "started_at", "done_at", "usage", "base_sha"]
    assert all(session[name] is None for name in [*absent, "parent_session_id", "commit_sha", "result_branch"])
    assert session["stage"] == "queued"
    assert session["steps"] == [] and session["steps_count"] == session["attempt"] == 0
    assert ok(api.get(path_of(runner, "/sessions"))) == [session]


def test_a_session_shows_how_it_went(api, make_runner, worker):
    runner = make_runner()
    claim = worker.claim(runner["latest_session_id"])
    worker.step(claim, "Read", "twelve files")
    session = ok(api.get(session_path(runner)))
    assert session["state"] == "RUNNING" and session["attempt"] == 1 and session["started_at"]
    assert session["current_task"] == ok(api.get(path_of(runner)))["current_task"] == "Read"
    assert [(step["title"], step["message"]) for step in session["steps"]] == [("Read", "twelve files")]
    usage = {"input_tokens": 3, "output_tokens": 1, "cached_input_tokens": 0, "cost_usd": 0.01, "tool_calls": 2}
    worker.finish(claim, diff=patch_of("x"), result="Done.", usage=usage)
    session = ok(api.get(session_path(runner)))
    assert session["state"] == "DONE" and session["result"] == "Done." and session["usage"] == usage
    assert session["duration"] >= 0 and session["done_at"] >= session["started_at"] and session["current_task"] is None
    assert session["has_result_diff"] and session["has_cumulative_diff"]
    runner = ok(api.get(path_of(runner)))
    assert (runner["state"], runner["head_session_id"]) == ("DONE", session["id"])
    assert runner["done_at"] == session["done_at"] and runner["active_session_created_at"] is None


def test_a_session_shows_the_agent_that_took_over_last(api, make_runner, worker):
    runner = make_runner(agent="claude")
    claim = worker.claim(runner["latest_session_id"])
    assert runner["latest_session_agent"] == "claude" and ok(api.get(session_path(runner)))["taken_over_by"] is None
    worker.hand_over(claim, "codex")
    worker.hand_over(claim, "gemini", "gemini-2.5-pro")
    worker.step(claim, "Read")
    session = ok(api.get(session_path(runner)))
    assert session["taken_over_by"] == {"agent": "gemini", "model": "gemini-2.5-pro"}
    assert session["agent_config"]["agent"] == "claude"
    assert ok(api.get(path_of(runner)))["latest_session_agent"] == "gemini"
    with db.transaction():
        session_attempts.requeue(claim.session.id, claim.attempt)
    again = worker.claim(runner["latest_session_id"])
    assert ok(api.get(session_path(runner)))["taken_over_by"] is None, "each attempt begins with the session's own"
    worker.hand_over(again, "codex")
    worker.finish(again)
    assert ok(api.get(session_path(runner)))["taken_over_by"] == {"agent": "codex", "model": None}
    follow_up = created(api.post(path_of(runner, "/sessions"), {"prompt": "More."}))
    assert (follow_up["agent_config"]["agent"], follow_up["taken_over_by"]) == ("claude", None)
    assert [each["latest_session_agent"] for each in ok(api.get("/agent_runners"))] == ["claude"]


def test_what_a_later_release_stored_is_shown_as_it_is_and_can_be_stopped(api, make_runner):
    session = make_runner()["latest_session_id"]
    write(uuid.UUID(session), mode=sa.literal("later", sa.String()))
    runner = ok(api.get("/agent_runners"))[0]
    assert ok(api.get(path_of(runner, "/sessions")))[0]["mode"] == "later"
    empty(api.delete(path_of(runner)), 202)
    stopped = ok(api.get(path_of(runner, f"/sessions/{session}")))
    assert (stopped["state"], stopped["mode"]) == ("CANCELLED", "later")


def test_the_stage_shows_what_is_done_for_a_session(api, make_runner, worker):
    runner = make_runner()

    def shown() -> tuple[str | None, str | None]:
        session = ok(api.get(session_path(runner)))
        assert session["current_task"] == ok(api.get(path_of(runner)))["current_task"]
        return session["stage"], session["current_task"]

    def enter(claim, stage: Stage) -> None:
        with db.transaction():
            progress.record(claim.session.id, claim.attempt, [stage])
            progress.record(claim.session.id, claim.attempt, [progress.Step("Sandbox: none", "")])

    first = worker.claim(runner["latest_session_id"])
    assert shown() == (None, None)
    for stage in (Stage.FETCHING, Stage.PREPARING, Stage.SETUP, Stage.AGENT):
        enter(first, stage)
        assert shown() == (stage, None)
    worker.step(first, "Read")
    assert shown() == ("agent", "Read")
    with db.transaction():
        session_attempts.requeue(first.session.id, first.attempt)
    assert shown() == ("queued", None)
    second = worker.claim(runner["latest_session_id"])
    assert shown() == (None, None)
    enter(second, Stage.AGENT)
    worker.step(second, "Read")
    enter(second, Stage.SAVING)
    assert shown() == ("saving", None)
    worker.finish(second)
    assert shown() == (None, None)


def test_a_session_that_is_new_says_what_it_waits_for(api, make_site, make_runner, worker):
    site = make_site()
    first, second, third = (make_runner(site=site) for _ in range(3))

    def shown() -> list[tuple[str, int] | None]:
        sessions = [ok(api.get(session_path(runner)))["waiting"] for runner in (first, second, third)]
        runners = {runner["id"]: runner["waiting"] for runner in ok(api.get("/agent_runners"))}
        assert sessions == [runners[runner["id"]] for runner in (first, second, third)]
        assert all(found is None or found["until"] is None for found in sessions)
        return [found and (found["reason"], found["position"]) for found in sessions]

    assert shown() == [("queued", 0), ("queued", 1), ("queued", 2)]
    ok(api.patch(f"/sites/{site['id']}", {"max_concurrent_sessions": 1}))
    claim = worker.claim(first["latest_session_id"])
    assert shown() == [None, ("site_limit", 0), ("site_limit", 1)]
    worker.finish(claim)
    assert shown() == [None, ("queued", 0), ("queued", 1)]


def test_a_failure_says_where_and_why(api, make_runner, worker):
    runner = make_runner()
    failure = {"code": "branch_not_found", "stage": "checkout", "retryable": False, "message": "There is no topic."}
    worker.run(runner["latest_session_id"], state=SessionState.ERROR, failure=Failure(**failure))
    assert ok(api.get(session_path(runner)))["failure"] == {**failure, "retry_at": None}
    assert ok(api.get(path_of(runner)))["state"] == "ERROR"


def test_a_second_attempt_shows_its_own_steps_only(api, make_runner, worker):
    runner = make_runner()
    first = worker.claim(runner["latest_session_id"])
    worker.step(first, "Lost")
    worker.lose(first)
    worker.step(worker.claim(runner["latest_session_id"]), "Found")
    session = ok(api.get(session_path(runner)))
    assert [step["title"] for step in session["steps"]] == ["Started again", "Found"]
    assert session["attempt"] == session["steps_count"] == 2


def test_one_answer_holds_no_more_text_of_steps_than_a_session_may_have(api, make_runner, worker, configure):
    configure(MAX_STEPS_BYTES="0")  # What is left is the room for what the product itself tells: 1 MiB.
    runner = make_runner()

    def tell(session_id: str) -> None:
        claim = worker.claim(session_id)
        for number in range(3):
            worker.step(claim, f"Step {number}", "x" * 300 * 1024)
        worker.finish(claim)

    tell(first := runner["latest_session_id"])
    tell(second := created(api.post(path_of(runner, "/sessions"), {"prompt": "More."}))["id"])
    for order in ("asc", "desc"):
        full, cut = ok(api.get(path_of(runner, f"/sessions?order_by={order}")))
        assert (len(full["steps"]), len(cut["steps"])) == (3, 0)
        assert full["steps_count"] == cut["steps_count"] == 3
    for session_id in (first, second):
        steps = ok(api.get(session_path(runner, session_id)))["steps"]
        assert [step["title"] for step in steps] == ["Step 0", "Step 1", "Step 2"]


def test_one_answer_holds_no_more_steps_than_a_session_may_have(api, make_runner, worker, configure):
    configure(MAX_STEPS="10")  # And 1,000 that the product itself tells.
    runner = make_runner()
    claim = worker.claim(runner["latest_session_id"])
    with db.transaction():
        steps = [progress.Step(f"Step {number}", "") for number in range(1020)]
        progress.record(claim.session.id, claim.attempt, steps)
    session = ok(api.get(session_path(runner)))
    assert (len(session["steps"]), session["steps"][-1]["title"]) == (1010, "Step 1009")
    assert session["steps_count"] == 1020


def test_one_session_of_a_runner_is_active_at_most(api, make_runner, worker):
    runner = make_runner()
    refused(api.post(path_of(runner, "/sessions"), {"prompt": "x"}), 409, "active_session_exists")
    worker.claim(runner["latest_session_id"])
    refused(api.post(path_of(runner, "/sessions"), {"prompt": "x"}), 409, "active_session_exists")


def test_a_follow_up_builds_on_the_head(api, make_done_runner, worker, join):
    runner = make_done_runner()
    response = api.post(path_of(runner, "/sessions"), {"prompt": "More.", "mode": "ask", "agent": "claude"})
    session = created(response)
    assert response.headers["Location"].endswith(session_path(runner, session["id"]))
    assert session["parent_session_id"] == runner["head_session_id"]
    assert worker.claim(session["id"]).session.start_diff_key.split("/")[-1].startswith("cumulative-")
    runner = ok(api.get(path_of(runner)))
    assert (runner["state"], runner["latest_session_id"], runner["latest_session_mode"]) == (
        "RUNNING",
        session["id"],
        "ask",
    )


def test_unknown_sessions_answer_404(api, make_runner):
    mine, other = make_runner(), make_runner()
    for session_id in (NOBODY, "x", other["latest_session_id"]):
        for rest in ("", "/diff/result", "/diff/cumulative", "/events"):
            assert api.get(session_path(mine, session_id, rest)).status_code == 404
        assert api.delete(session_path(mine, session_id)).status_code == 404
        assert api.patch(session_path(mine, session_id), {"title": "x"}).status_code == 404


def test_a_waiting_session_is_stopped(api, make_runner, worker):
    runner = make_runner()
    empty(api.delete(path_of(runner)), 202)
    session = ok(api.get(session_path(runner)))
    assert session["state"] == "CANCELLED" and session["done_at"] and session["duration"] is None
    assert ok(api.get(path_of(runner)))["state"] == "DONE"
    assert worker.find_claim(session["id"]) is None
    refused(api.delete(path_of(runner)), 409, "no_active_session")


def test_stopping_a_session_again_is_no_error_and_changes_nothing(api, make_runner, worker):
    runner = make_runner()
    worker.claim(runner["latest_session_id"])
    empty(api.delete(session_path(runner)), 202)
    session = ok(api.get(session_path(runner)))
    assert session["state"] == "CANCELLED" and session["duration"] is not None
    empty(api.delete(session_path(runner)), 202)
    assert ok(api.get(session_path(runner))) == session


def test_a_session_that_has_ended_cannot_be_stopped(api, make_done_runner):
    runner = make_done_runner()
    refused(api.delete(session_path(runner)), 409, "session_ended")
    refused(api.delete(path_of(runner)), 409, "no_active_session")


def test_a_title_is_given_afterwards(api, make_runner):
    runner = make_runner()
    assert ok(api.patch(session_path(runner), {"title": "First try"}))["title"] == "First try"
    assert ok(api.patch(session_path(runner), {"title": None}))["title"] is None


def test_archiving(api, make_done_runner, make_runner):
    runner = make_done_runner()
    refused(api.post(path_of(make_runner(), "/archive")), 409, "active_session_exists")
    for _ in range(2):
        response = api.post(path_of(runner, "/archive"))
        assert response.status_code == 202 and response.json["state"] == "ARCHIVED"
    refused(api.post(path_of(runner, "/sessions"), {"prompt": "x"}), 409, "runner_archived")
    refused(api.post(path_of(runner, "/revert"), {"session_id": None}), 409, "runner_archived")
    refused(api.post(path_of(runner, "/pull_request"), {}), 409, "runner_archived")
    refused(api.post(path_of(runner, "/commit"), {"target_branch": "x"}), 409, "runner_archived")
    assert ok(api.get(path_of(runner)))["state"] == "ARCHIVED"
    assert api.get(path_of(runner, "/diff")).status_code == 200


def test_a_session_is_tried_again_from_where_it_began(api, make_done_runner, worker):
    runner = make_done_runner(agent="codex", model="m1", effort="high", limits={"max_tokens": 5})
    failed = created(api.post(path_of(runner, "/sessions"), {"prompt": "Explain.", "mode": "ask"}))
    worker.run(failed["id"], state=SessionState.ERROR)
    response = api.post(session_path(runner, failed["id"], "/retry"))
    again = created(response)
    assert response.headers["Location"].endswith(session_path(runner, again["id"]))
    same = ("prompt", "mode", "agent_config", "limits", "parent_session_id", "attached_file_keys")
    assert {name: again[name] for name in same} == {name: failed[name] for name in same}
    assert again["id"] != failed["id"] and again["agent_config"]["model"] == "m1" and again["mode"] == "ask"
    refused(api.post(session_path(runner, failed["id"], "/retry")), 409, "active_session_exists")
    assert worker.claim(again["id"]).session.start_diff_key.split("/")[-1].startswith("cumulative-")


def test_a_session_tried_again_replaces_what_was_built_on_it(api, make_done_runner, worker, follow_up):
    runner = make_done_runner()
    first = runner["latest_session_id"]
    second = follow_up(runner, patch_of("two"))
    again = created(api.post(session_path(runner, first, "/retry")))
    assert again["parent_session_id"] is None
    claim = worker.claim(again["id"])
    assert claim.session.start_diff_key is None
    worker.finish(claim, diff=patch_of("better"))
    assert api.get(path_of(runner, "/diff")).text == patch_of("better")
    for session_id in (first, second["id"]):
        assert ok(api.get(session_path(runner, session_id)))["is_discarded"]


def test_a_session_is_tried_again_only_where_there_is_one(api, make_done_runner, ada):
    runner, other = make_done_runner(), make_done_runner()
    refused(api.post(session_path(runner, NOBODY, "/retry")), 404, "session_not_found")
    refused(api.post(session_path(runner, other["latest_session_id"], "/retry")), 404, "session_not_found")
    api.post(path_of(runner, "/archive"))
    refused(api.post(session_path(runner, rest="/retry")), 409, "runner_archived")
    reader = ada.holding(Scope.READ)
    refused(reader.post(session_path(other, rest="/retry")), 403, "scope_missing")


def test_a_runner_is_unarchived(api, make_runner, make_done_runner, worker):
    failed = make_runner()
    worker.run(failed["latest_session_id"], state=SessionState.ERROR)
    for runner, state in ((make_done_runner(), "DONE"), (failed, "ERROR")):
        api.post(path_of(runner, "/archive"))
        for _ in range(2):
            assert ok(api.post(path_of(runner, "/unarchive")))["state"] == state
    created(api.post(path_of(failed, "/sessions"), {"prompt": "x"}))
    assert ok(api.post(path_of(failed, "/unarchive")))["state"] == "NEW"
