"""An external worker: it claims, reports and ends by PATCH."""

from __future__ import annotations

import time
import uuid

import pytest
import sqlalchemy as sa

from app import artifacts, db
from app.models import AgentRunnerSession
from app.models.states import Scope
from app.services import sweep
from app.services.execution import repairs
from tests.api.calling import Api, created, empty, ok, patch_of, path_of, refused, session_path
from tests.stores import make_older

pytestmark = pytest.mark.same_on_both_databases


@pytest.fixture
def outside(ada) -> Api:
    """A caller with a token of scope worker."""
    return ada.holding(Scope.WORKER)


@pytest.fixture
def runner(make_site, make_runner):
    return make_runner(site=make_site(execution="external"))


@pytest.fixture
def claimed(outside, runner) -> Api:
    """A caller with the session token of the first attempt."""
    return outside.with_token(ok(outside.patch(session_path(runner), {"state": "running"}))["session_token"])


def let_lease_run_out():
    with db.transaction():
        db.session.query(AgentRunnerSession).update({"lease_expires_at": db.now(-1)})
    repair()


def repair():
    with db.transaction():
        for session_id in sweep.find_sessions():
            repairs.repair(session_id)


def test_a_session_of_an_external_site_waits_for_its_claim(api, runner, worker, outside):
    assert worker.find_claim(runner["latest_session_id"]) is None
    session = ok(outside.patch(session_path(runner), {"state": "RUNNING"}))
    assert session["session_token"].startswith("ar_")
    assert (session["state"], session["attempt"]) == ("RUNNING", 1) and session["started_at"]
    refused(outside.patch(session_path(runner), {"state": "RUNNING"}), 409, "already_claimed")
    assert ok(api.get(path_of(runner)))["state"] == "RUNNING"


def test_a_worker_past_its_time_limit_is_ended_and_may_save_its_work(api, outside, make_site, make_runner, worker):
    limits = {"max_duration_seconds": 600}
    external = make_site(execution="external")
    late, in_time = (make_runner(site=external, limits=limits) for _ in range(2))
    ours = make_runner(limits=limits)
    worker.claim(ours["latest_session_id"])
    tokens = {
        each["id"]: ok(outside.patch(session_path(each), {"state": "RUNNING"}))["session_token"]
        for each in (late, in_time)
    }
    for each, seconds in ((late, 661), (in_time, 650), (ours, 5000)):
        with db.transaction():
            mine = AgentRunnerSession.id == uuid.UUID(each["latest_session_id"])
            db.session.execute(sa.update(AgentRunnerSession).where(mine).values(started_at=db.now(-seconds)))
    repair()
    assert [ok(api.get(path_of(each)))["state"] for each in (late, in_time, ours)] == ["ERROR", "RUNNING", "RUNNING"]
    ended = ok(api.get(session_path(late)))
    assert ended["failure"]["code"] == "time_limit" and "600 seconds" in ended["failure"]["message"]
    assert ended["steps"][-1]["title"] == "The session reached its time limit"
    token = outside.with_token(tokens[late["id"]])
    refused(token.patch(session_path(late), {"steps": [{"title": "Going on"}]}), 409, "not_running")
    assert ok(token.patch(session_path(late), {"result_diff": patch_of("one")}))["has_result_diff"]


def test_more_steps_than_a_session_may_have_are_left_out_and_cost_no_work(api, claimed, runner, configure):
    configure(MAX_STEPS="3")
    path, steps = session_path(runner), [{"title": f"Step {number}"} for number in range(5)]
    for report in (steps[:2], steps, steps, [{"title": "One more"}]):
        ok(claimed.patch(path, {"steps": report}))
    session = ok(claimed.patch(path, {"steps": steps, "state": "DONE", "result_diff": patch_of("one")}))
    kept = ["Step 0", "Step 1", "Step 2", "Steps are left out from here on"]
    assert [step["title"] for step in session["steps"]] == kept and session["steps_count"] == 4
    assert session["state"] == "DONE" and session["has_result_diff"]


def test_a_repeated_list_of_steps_is_recognized_however_long_it_is(claimed, runner, configure):
    configure(MAX_STEPS_BYTES="0")
    path, steps = session_path(runner), [{"title": f"Step {n}", "message": "x" * 250 * 1024} for n in range(7)]
    session = ok(claimed.patch(path, {"steps": steps[:6]}))
    assert len(session["steps"]) < session["steps_count"] == 6
    assert ok(claimed.patch(path, {"steps": steps}))["steps_count"] == 7


def test_a_session_of_an_internal_site_is_not_claimed_by_an_external_worker(outside, make_runner):
    refused(outside.patch(session_path(make_runner()), {"state": "RUNNING"}), 409, "not_external")


def test_a_worker_reports_and_ends(api, claimed, runner):
    path = session_path(runner)
    step = {"title": "Read", "message": "all of it", "category": "read", "ref": "call_1"}
    usage = {"input_tokens": 5, "output_tokens": 1, "cached_input_tokens": None, "cost_usd": 0.1, "tool_calls": 1}
    session = ok(claimed.patch(path, {"steps": [step], "usage": usage, "current_task": "Reading"}))
    assert session["steps"][0]["title"] == "Read" and session["usage"] == usage
    assert (session["stage"], session["current_task"]) == ("agent", "Reading")
    assert ok(api.get(path_of(runner)))["current_task"] == "Reading"
    repeated = [{key: session["steps"][0][key] for key in session["steps"][0]}, {"title": "Write"}]
    session = ok(claimed.patch(path, {"steps": repeated}))
    shown = [tuple(step[name] for name in ("title", "message", "category", "ref")) for step in session["steps"]]
    assert shown == [("Read", "all of it", "read", "call_1"), ("Write", "", "message", None)]
    end = {
        "state": "DONE",
        "result": "There.",
        "duration": 1234,
        "commit_sha": "c" * 40,
        "result_branch": "agent/x",
        "result_diff": patch_of("result"),
        "cumulative_diff": patch_of("all"),
    }
    session = ok(claimed.patch(path, end))
    assert (session["state"], session["duration"], session["result"]) == ("DONE", 1234, "There.")
    assert session["commit_sha"] == "c" * 40 and session["result_branch"] == "agent/x"
    assert api.get(session_path(runner, rest="/diff/result")).text == patch_of("result")
    assert api.get(path_of(runner, "/diff")).text == patch_of("all")
    assert ok(api.get(path_of(runner)))["head_session_id"] == session["id"]


def test_diffs_are_uploaded_by_signed_urls_of_the_attempt(api, claimed, runner):
    urls = ok(claimed.post(session_path(runner, rest="/diff/upload_urls")))
    prefix = f"agent-runner-sessions-diffs/{runner['id']}/{runner['latest_session_id']}/1"
    assert {kind: url["s3_key"] for kind, url in urls.items()} == {
        "result": f"{prefix}/result.patch",
        "cumulative": f"{prefix}/cumulative.patch",
    }
    keys = {f"{kind}_diff_s3_key": url["s3_key"] for kind, url in urls.items()}
    refused(claimed.patch(session_path(runner), keys), 422, "bad_key")
    for kind, url in urls.items():
        headers = {"Content-Type": "text/x-diff"}
        empty(claimed.with_token(None)("PUT", url["upload_url"], data=patch_of(kind), headers=headers), 200)
    ok(claimed.patch(session_path(runner), {"state": "DONE", **keys}))
    assert api.get(session_path(runner, rest="/diff/cumulative")).text == patch_of("cumulative")


def test_a_reported_diff_is_not_replaced_by_a_later_upload(api, claimed, runner):
    urls = ok(claimed.post(session_path(runner, rest="/diff/upload_urls")))

    def upload(text: str) -> None:
        for url in urls.values():
            empty(claimed.with_token(None)("PUT", url["upload_url"], data=patch_of(text), headers=url["headers"]), 200)

    upload("reviewed")
    keys = {f"{kind}_diff_s3_key": url["s3_key"] for kind, url in urls.items()}
    ok(claimed.patch(session_path(runner), {"state": "DONE", **keys}))
    upload("replaced")
    assert api.get(path_of(runner, "/diff")).text == patch_of("reviewed")
    for kind in urls:
        assert api.get(session_path(runner, rest=f"/diff/{kind}")).text == patch_of("reviewed")


def test_only_the_worker_that_has_a_session_may_upload_its_diffs(api, claimed, runner, outside, worker, make_runner):
    path = session_path(runner)
    refused(outside.post(f"{path}/diff/upload_urls"), 409, "already_claimed")
    ours = make_runner()
    worker.claim(ours["latest_session_id"])
    refused(outside.post(session_path(ours, rest="/diff/upload_urls")), 409, "already_claimed")


OTHER_KEYS = ["x", "{prefix}/2/result.patch", "{prefix}/1/cumulative.patch", "../secret.key"]


def test_a_key_that_was_not_issued_for_this_attempt_is_refused(claimed, runner):
    prefix = f"agent-runner-sessions-diffs/{runner['id']}/{runner['latest_session_id']}"
    for key in OTHER_KEYS:
        refused(claimed.patch(session_path(runner), {"result_diff_s3_key": key.format(prefix=prefix)}), 422, "bad_key")


def test_a_diff_that_was_uploaded_long_before_it_is_reported_is_refused(claimed, runner):
    url = ok(claimed.post(session_path(runner, rest="/diff/upload_urls")))["result"]
    headers = {"Content-Type": "text/x-diff"}
    empty(claimed.with_token(None)("PUT", url["upload_url"], data=patch_of("late"), headers=headers), 200)
    make_older(url["s3_key"], 48 * 3600)
    refused(claimed.patch(session_path(runner), {"result_diff_s3_key": url["s3_key"]}), 422, "file_expired")


def test_an_error_says_what_the_worker_said(api, claimed, runner):
    session = ok(claimed.patch(session_path(runner), {"state": "ERROR", "result": "No disk left."}))
    assert session["failure"]["code"] == "worker_reported" and session["failure"]["message"] == "No disk left."
    assert ok(api.get(path_of(runner)))["state"] == "ERROR"


def test_a_session_token_is_for_its_session_alone(claimed, runner, make_runner, make_site):
    other = make_runner(site=make_site(execution="external"))
    ok(claimed.get(session_path(runner)))
    refused(claimed.patch(session_path(other), {"state": "RUNNING"}), 403, "session_token_scope")
    for method, path, body in [
        ("GET", "/agent_runners", None),
        ("GET", path_of(runner), None),
        ("GET", session_path(other), None),
        ("GET", session_path(runner, rest="/events"), None),
        ("GET", "/tokens", None),
        ("POST", "/tokens", {"name": "x", "scope": "read"}),
        ("DELETE", session_path(runner), None),
        ("POST", path_of(runner, "/archive"), None),
        ("GET", "/sites", None),
    ]:
        refused(claimed(method, path, **({"json": body} if body else {})), 403, "session_token_scope")


def test_the_session_token_is_revoked_with_the_token_that_claimed_with_it(claimed, runner, ada):
    [token] = [each for each in ok(ada.admin.get("/tokens")) if each["scope"] == "worker"]
    ok(claimed.patch(session_path(runner), {"result": "Found."}))
    empty(ada.admin.delete(f"/tokens/{token['id']}"), 204)
    refused(claimed.patch(session_path(runner), {"result": "Found more."}), 401, "bad_token")


def test_a_session_token_reads_its_session_until_its_attempt_has_ended(api, claimed, runner, outside):
    path = session_path(runner)
    ok(claimed.get(path))
    let_lease_run_out()
    refused(claimed.get(path), 403, "session_token_scope")
    second = outside.with_token(ok(outside.patch(path, {"state": "RUNNING"}))["session_token"])
    refused(claimed.get(path), 403, "session_token_scope")
    ok(second.get(path))
    ok(second.patch(path, {"state": "DONE"}))
    refused(second.get(path), 403, "session_token_scope")


def test_a_follow_up_reports_the_cumulative_diff(api, claimed, runner, outside):
    path = path_of(runner)
    first = ok(claimed.patch(session_path(runner), {"state": "DONE", "result_diff": patch_of("one")}))
    assert first["has_cumulative_diff"], "it is the same where nothing came before"
    second = f"{path}/sessions/{created(api.post(f'{path}/sessions', {'prompt': 'More.'}))['id']}"
    worker = outside.with_token(ok(outside.patch(second, {"state": "RUNNING"}))["session_token"])
    report = {"state": "DONE", "result_diff": patch_of("two")}
    body = refused(worker.patch(second, report), 422, "invalid")
    assert "cumulative_diff" in body["errors"]
    assert ok(api.get(path))["has_result_diff"], "what there was is not lost"
    ok(worker.patch(second, {**report, "cumulative_diff": patch_of("both")}))


def test_each_report_is_a_heartbeat_and_silence_loses_the_lease(api, claimed, runner, outside):
    ok(claimed.patch(session_path(runner), {}))
    let_lease_run_out()
    session = ok(api.get(session_path(runner)))
    assert (session["state"], session["attempt"]) == ("NEW", 1)
    assert due() == []
    refused(claimed.patch(session_path(runner), {}), 409, "lease_lost")
    refused(claimed.post(session_path(runner, rest="/diff/upload_urls")), 409, "lease_lost")
    second = outside.with_token(ok(outside.patch(session_path(runner), {"state": "RUNNING"}))["session_token"])
    refused(claimed.patch(session_path(runner), {"state": "DONE"}), 409, "lease_lost")
    assert ok(second.patch(session_path(runner), {"state": "DONE"}))["attempt"] == 2


def test_a_repeated_list_of_steps_is_recognized_in_a_later_attempt_too(api, claimed, runner, outside):
    let_lease_run_out()
    second = outside.with_token(ok(outside.patch(session_path(runner), {"state": "RUNNING"}))["session_token"])
    one, two, three = ({"title": title, "message": ""} for title in ("One", "Two", "Three"))
    for steps in ([one], [one, two]):
        ok(second.patch(session_path(runner), {"steps": steps}))
    shown = ok(api.get(session_path(runner)))["steps"]
    assert [step["title"] for step in shown] == ["Started again", "One", "Two"]
    read = [{name: step[name] for name in ("title", "message")} for step in shown]
    shown = ok(second.patch(session_path(runner), {"steps": [*read, three]}))["steps"]
    assert [step["title"] for step in shown] == ["Started again", "One", "Two", "Three"]


def test_three_lost_workers_end_a_session(api, runner, outside):
    for _ in range(3):
        ok(outside.patch(session_path(runner), {"state": "RUNNING"}))
        let_lease_run_out()
    session = ok(api.get(session_path(runner)))
    assert session["state"] == "ERROR" and session["failure"]["code"] == "worker_lost"


def test_what_the_state_machine_forbids_is_a_conflict(api, outside, runner):
    path = session_path(runner)
    refused(outside.patch(path, {"state": "DONE"}), 409, "bad_transition")
    refused(outside.patch(path, {"state": "asleep"}), 422, "invalid")
    token = ok(outside.patch(path, {"state": "RUNNING"}))["session_token"]
    refused(outside.patch(path, {"state": "NEW"}), 409, "bad_transition")
    ok(outside.with_token(token).patch(path, {"state": "DONE"}))
    for state in ("NEW", "RUNNING", "DONE", "ERROR", "CANCELLED"):
        refused(outside.patch(path, {"state": state}), 409, "bad_transition")
    refused(outside.patch(path, {"result": "Afterwards"}), 409, "not_running")
    assert ok(outside.patch(path, {"title": "Afterwards"}))["title"] == "Afterwards"


def test_an_unclaimed_session_takes_no_reports_but_may_be_ended(outside, runner):
    path = session_path(runner)
    refused(outside.patch(path, {"steps": [{"title": "x"}]}), 409, "not_running")
    assert ok(outside.patch(path, {"state": "ERROR"}))["attempt"] == 0


def test_the_work_of_a_stopped_session_is_kept_once(api, claimed, runner, outside):
    path = session_path(runner)
    empty(api.delete(path), 202)
    url = ok(claimed.post(f"{path}/diff/upload_urls"))["cumulative"]
    headers = {"Content-Type": "text/x-diff"}
    empty(claimed.with_token(None)("PUT", url["upload_url"], data=patch_of("all"), headers=headers), 200)
    work = {"result_diff": patch_of("half"), "cumulative_diff_s3_key": url["s3_key"], "usage": {"input_tokens": 4}}
    refused(outside.patch(path, work), 409, "not_running")
    refused(claimed.patch(path, {**work, "state": "DONE"}), 409, "session_cancelled")
    kept = ok(claimed.patch(path, work))
    assert (kept["state"], kept["has_result_diff"], kept["usage"]["input_tokens"]) == ("CANCELLED", True, 4)
    refused(claimed.patch(path, work), 409, "session_cancelled")
    refused(claimed.post(f"{path}/diff/upload_urls"), 409, "session_cancelled")
    assert api.get(f"{path}/diff/result").text == patch_of("half")
    assert not ok(api.get(path_of(runner)))["has_result_diff"]
    ok(api.post(path_of(runner, "/revert"), {"session_id": runner["latest_session_id"]}))
    assert api.get(path_of(runner, "/diff")).text == patch_of("all")


def test_a_new_title_is_no_heartbeat(api, claimed, runner, engine):
    def lease():
        with engine.connect() as connection:
            return connection.scalar(sa.select(AgentRunnerSession.lease_expires_at))

    before = lease()
    ok(api.patch(session_path(runner), {"title": "x"}))
    assert lease() == before
    time.sleep(0.01)
    ok(claimed.patch(session_path(runner), {}))
    assert lease() > before


def test_waiting_sessions_are_dispatched_once_a_site_is_internal(api, runner, worker):
    assert due() == []
    ok(api.patch(f"/sites/{runner['site_id']}", {"execution": "internal"}))
    time.sleep(0.01)
    assert [str(session_id) for session_id in due()] == [runner["latest_session_id"]]
    ok(api.patch(f"/sites/{runner['site_id']}", {"execution": "external"}))
    assert due() == []


def due():
    with db.transaction(read_only=True):
        return sweep.find_sessions()


def test_a_stopped_session_takes_no_more_reports(api, claimed, runner):
    empty(api.delete(session_path(runner)), 202)
    for report in ({}, {"steps": [{"title": "x"}]}, {"state": "DONE"}):
        refused(claimed.patch(session_path(runner), report), 409, "session_cancelled")
    assert ok(api.get(session_path(runner)))["steps"] == []


INVALID = [
    ("duration", -1),
    ("duration", 2**31),
    ("duration", "5"),
    ("steps", {}),
    ("steps", ["x"]),
    ("steps", [{"title": 5}]),
    ("steps", [{"title": "x", "category": "none"}]),
    ("steps", [{"title": "\0"}]),
    ("usage", {"input_tokens": -1}),
    ("usage", {"tokens": 1}),
    ("usage", {"cost_usd": "1"}),
    ("commit_sha", "main"),
    ("result", "\0"),
    ("result_branch", "-x"),
    ("result_diff", "hello"),
    ("title", "x" * 501),
    ("steps", [{"title": "x"}] * 10_001),
    ("attempt", 5),
]


def test_an_invalid_report_is_refused_by_name(claimed, runner):
    for field, value in INVALID:
        response = claimed.patch(session_path(runner), {field: value})
        assert response.status_code == 422 and list(response.json["errors"]) == [field], response.text


def test_a_diff_comes_inline_or_by_key_but_not_both(claimed, runner, api, make_done_runner):
    both = {"cumulative_diff": patch_of("x"), "cumulative_diff_s3_key": "x"}
    errors = refused(claimed.patch(session_path(runner), both), 422, "two_diffs")["errors"]
    assert list(errors) == ["cumulative_diff_s3_key"]
    both = {"result_diff": patch_of("x"), "result_diff_s3_key": "x"}
    refused(api.patch(path_of(make_done_runner()), both), 422, "two_diffs")
    ok(claimed.patch(session_path(runner), {"result_diff": None, "result_diff_s3_key": None}))


@pytest.mark.parametrize("kind", ["result", "cumulative"])
def test_a_reported_diff_is_checked_alike_inline_and_by_key(claimed, runner, kind):
    urls = ok(claimed.post(session_path(runner, rest="/diff/upload_urls")))
    key = urls[kind]["s3_key"]
    artifacts.store().put(key, [b"this is no diff"])
    for body in ({f"{kind}_diff": "this is no diff"}, {f"{kind}_diff_s3_key": key}):
        errors = refused(claimed.patch(session_path(runner), {**body, "state": "DONE"}), 422, "not_a_diff")["errors"]
        assert list(errors) == list(body)


def test_an_empty_diff_is_no_diff(claimed, runner):
    assert not ok(claimed.patch(session_path(runner), {"result_diff": "", "state": "DONE"}))["has_result_diff"]


def test_a_follow_up_needs_a_claim_of_its_own(api, claimed, runner, outside):
    ok(claimed.patch(session_path(runner), {"state": "DONE", "cumulative_diff": patch_of("x")}))
    follow = created(api.post(path_of(runner, "/sessions"), {"prompt": "x"}))
    refused(claimed.patch(session_path(runner, follow["id"]), {"state": "RUNNING"}), 403, "session_token_scope")
    assert ok(outside.patch(session_path(runner, follow["id"]), {"state": "RUNNING"}))["session_token"]
