"""Budgets on sums: what is used, what is refused, and what ends."""

from __future__ import annotations

import datetime
import uuid

import pytest

from app import db
from app.models.states import Scope
from app.services.execution import exhaustion, progress, session_attempts
from app.services.execution.progress import Usage
from tests.api.calling import created, empty, ok, path_of, refused, session_path

WHOLE = {"input_tokens": 900, "output_tokens": 100, "cached_input_tokens": 500, "tool_calls": 1}


@pytest.fixture
def spend(worker):
    """Have the attempt of a claim report its usage so far, as a worker does."""

    def report(claim, **usage):
        with db.transaction():
            progress.record(claim.session.id, claim.attempt, [Usage({**WHOLE, **usage})])
            exhaustion.check(claim.session)

    return report


@pytest.fixture
def budget(api):
    def make(period="month", **fields):
        return created(api.post("/budgets", {"period": period, **fields}))

    return make


def shown(api, budget):
    return ok(api.get(f"/budgets/{budget['id']}"))


def test_what_sessions_use_counts_while_they_run_however_often_they_report(api, budget, make_runner, worker, spend):
    monthly, daily = budget(max_cost_usd=5), budget("day", max_tokens=10_000)
    claim = worker.claim(make_runner(agent="shell")["latest_session_id"])
    spend(claim, cost_usd=0.25)
    spend(claim, cost_usd=0.75, output_tokens=300)
    after = shown(api, monthly)
    assert (after["used_cost_usd"], after["left_cost_usd"], after["left_tokens"]) == (0.75, 4.25, None)
    assert (after["used_tokens"], after["unpriced_tokens"]) == (1200, 0)
    worker.lose(claim)
    second = worker.claim(str(claim.session.id))
    spend(second, cost_usd=0.5)
    worker.finish(second, usage={**WHOLE, "cost_usd": 0.5})
    assert shown(api, monthly)["used_cost_usd"] == 1.25, "a lost attempt has cost its money, too"
    after = shown(api, daily)
    assert (after["used_tokens"], after["left_tokens"], after["is_exhausted"]) == (2200, 7800, False)
    start, end = (datetime.datetime.fromisoformat(after[name]) for name in ("period_start", "period_end"))
    assert end - start == datetime.timedelta(days=1) and start.hour == 0
    assert ok(api.get("/budgets")) == [shown(api, daily), shown(api, monthly)]


def test_users_and_schedules_have_budgets_of_their_own(ada, api, budget, make_site, worker, spend):
    site = make_site(default_agent="shell")
    fields = {"name": "Nightly", "cron": "0 3 * * *", "prompt": "x"}
    schedule = created(api.post(f"/sites/{site['id']}/schedules", fields))
    of_schedule = budget(schedule_id=schedule["id"], max_tokens=2500)
    of_user = budget("day", user_id=str(ada.user.id), max_tokens=3000)
    run = created(api.post(f"/sites/{site['id']}/schedules/{schedule['id']}/run"))
    (runner,) = [each for each in ok(api.get("/agent_runners")) if each["id"] == run["last_runner_id"]]
    claim = worker.claim(runner["latest_session_id"])
    spend(claim)
    worker.finish(claim, usage={**WHOLE, "cost_usd": None})
    other = created(api.post("/agent_runners", {"site_id": site["id"], "prompt": "x"}))
    spend(worker.claim(other["latest_session_id"]))
    assert [shown(api, each)["used_tokens"] for each in (of_schedule, of_user)] == [1000, 2000]
    spend(worker.claim(created(api.post(path_of(runner, "/sessions"), {"prompt": "x"}))["id"]))
    assert [shown(api, each)["used_tokens"] for each in (of_schedule, of_user)] == [2000, 3000]
    message = refused(api.post("/agent_runners", {"site_id": site["id"], "prompt": "x"}), 429, "budget_exhausted")[
        "message"
    ]
    assert message.startswith("The budget of the user for this day is used up")
    empty(api.delete(f"/sites/{site['id']}/schedules/{schedule['id']}"), 204)
    refused(api.get(f"/budgets/{of_schedule['id']}"), 404, "budget_not_found")


@pytest.mark.same_on_both_databases
def test_a_schedule_over_its_budget_creates_no_runner(api, budget, make_site, worker):
    site = make_site(default_agent="shell")
    fields = {"name": "Nightly", "cron": "0 3 * * *", "prompt": "x"}
    schedule = created(api.post(f"/sites/{site['id']}/schedules", fields))
    run = f"/sites/{site['id']}/schedules/{schedule['id']}/run"
    budget(schedule_id=schedule["id"], max_tokens=1000)
    runner = ok(api.get(f"/agent_runners/{created(api.post(run))['last_runner_id']}"))
    worker.run(runner["latest_session_id"], usage={**WHOLE, "cost_usd": 1.0})
    message = refused(api.post(run), 429, "budget_exhausted")["message"]
    assert message.startswith("The budget of the schedule for this month is used up")
    created(api.post("/agent_runners", {"site_id": site["id"], "prompt": "x"}))


@pytest.mark.same_on_both_databases
def test_a_budget_is_for_one_of_the_account(ada, api, make_site, join):
    mine = {"period": "day", "max_tokens": 5, "user_id": str(ada.user.id)}
    created(api.post("/budgets", mine))
    refused(api.post("/budgets", mine), 409, "budget_exists")
    refused(api.post("/budgets", {**mine, "site_id": make_site()["id"]}), 422, "budget_of_several")
    refused(api.post("/budgets", {**mine, "user_id": str(join("Bob").user.id)}), 404, "user_not_found")
    missing = {"period": "day", "max_tokens": 5, "schedule_id": str(uuid.uuid4())}
    refused(api.post("/budgets", missing), 404, "schedule_not_found")


@pytest.mark.same_on_both_databases
def test_an_unknown_cost_is_not_none(api, budget, make_runner, worker, spend):
    monthly = budget(max_cost_usd=5)
    claim = worker.claim(make_runner(agent="shell")["latest_session_id"])
    spend(claim, cost_usd=None)
    after = shown(api, monthly)
    assert (after["used_cost_usd"], after["unpriced_tokens"], after["left_cost_usd"]) == (None, 1000, 5)
    worker.finish(claim, usage={**WHOLE, "cost_usd": 2.0})
    after = shown(api, monthly)
    assert (after["used_cost_usd"], after["unpriced_tokens"]) == (2, 0), "it was known at the end"


def test_a_session_over_a_budget_is_refused_before_it_starts(api, budget, make_site, make_runner, worker):
    site, other = (make_site(default_agent="shell") for _ in range(2))
    runner, waiting = make_runner(site=site), make_runner(site=site)
    budget("day", site_id=site["id"], max_cost_usd=1)
    worker.run(runner["latest_session_id"], usage={**WHOLE, "cost_usd": 1.0})
    for answer in (
        api.post("/agent_runners", {"site_id": site["id"], "prompt": "x"}),
        api.post(path_of(runner, "/sessions"), {"prompt": "x"}),
        api.post(session_path(runner, rest="/retry")),
    ):
        message = refused(answer, 429, "budget_exhausted")["message"]
        assert message.startswith(
            "The budget of the site for this day is used up: 1 of 1 US dollars. Raise it, or wait"
        )
        assert 0 < int(answer.headers["Retry-After"]) <= 86_400
    created(api.post("/agent_runners", {"site_id": other["id"], "prompt": "x"}))
    with db.transaction():
        claim = session_attempts.claim(uuid.UUID(waiting["latest_session_id"]), "task")
        assert claim and exhaustion.end_if_exhausted(claim.runner, claim.session)
    assert ok(api.get(session_path(waiting)))["failure"]["code"] == "budget_limit"


def test_running_sessions_end_together_at_the_next_report_and_their_work_is_kept(
    api, budget, make_site, make_runner, worker, spend
):
    site = make_site()
    budget(max_tokens=2500)
    claims = [worker.claim(make_runner(site=site, agent="shell")["latest_session_id"]) for _ in range(3)]
    spend(claims[0])
    spend(claims[1])
    spend(claims[1], cost_usd=1)
    steps = ok(api.get(session_path({"id": str(claims[1].runner.id)}, claims[1].session.id)))["steps"]
    assert [step["message"] for step in steps] == [
        "The budget of the account for this month: 2,000 of 2,500 tokens are used."
    ]
    assert ok(api.get(session_path({"id": str(claims[1].runner.id)}, claims[1].session.id)))["state"] == "RUNNING"
    spend(claims[2])
    path = session_path({"id": str(claims[2].runner.id)}, claims[2].session.id)
    session = ok(api.get(path))
    assert (session["state"], session["failure"]["code"]) == ("ERROR", "budget_limit")
    assert "3,000 of 2,500 tokens" in session["failure"]["message"]
    assert session["steps"][-1]["title"] == "A budget is used up"
    with db.transaction(read_only=True):
        assert session_attempts.is_cancelled(claims[2].session.id, claims[2].attempt), "its worker saves the work"
    spend(claims[0])
    assert ok(api.get(session_path({"id": str(claims[0].runner.id)}, claims[0].session.id)))["state"] == "ERROR"


@pytest.mark.same_on_both_databases
def test_an_external_worker_is_refused_and_ended_as_well(api, budget, make_site, make_runner):
    site = make_site(execution="external")
    first, second = make_runner(site=site, agent="shell"), make_runner(site=site, agent="shell")
    budget(max_tokens=1000)
    token = ok(api.patch(session_path(first), {"state": "RUNNING"}))["session_token"]
    after = ok(api.with_token(token).patch(session_path(first), {"usage": WHOLE}))
    assert (after["state"], after["failure"]["code"]) == ("ERROR", "budget_limit")
    refused(api.patch(session_path(second), {"state": "RUNNING"}), 429, "budget_exhausted")


@pytest.mark.same_on_both_databases
def test_only_an_administrator_sets_budgets(ada, api, budget):
    monthly = budget(max_cost_usd=5)
    writer = ada.holding(Scope.WRITE)
    assert ok(writer.get("/budgets")) == [monthly]
    for answer in (
        writer.post("/budgets", {"period": "day", "max_cost_usd": 1}),
        writer.patch(f"/budgets/{monthly['id']}", {"max_cost_usd": 9}),
        writer.delete(f"/budgets/{monthly['id']}"),
    ):
        refused(answer, 403, "scope_missing")
    assert ok(api.patch(f"/budgets/{monthly['id']}", {"max_cost_usd": 9}))["max_cost_usd"] == 9
    refused(api.patch(f"/budgets/{monthly['id']}", {"max_cost_usd": None}), 422, "limit_missing")
    refused(api.post("/budgets", {"period": "month", "max_tokens": 5}), 409, "budget_exists")
    refused(api.post("/budgets", {"period": "day"}), 422, "limit_missing")
    empty(api.delete(f"/budgets/{monthly['id']}"), 204)
    assert [each["action"] for each in ok(api.get("/audit_events"))] == [
        "budget.deleted",
        "budget.updated",
        "budget.created",
    ]
