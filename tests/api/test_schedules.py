"""Schedules as their owners see them, and the runners that a sweep creates for them."""

from __future__ import annotations

import datetime
import uuid

import pytest
import sqlalchemy as sa

from app import db
from app.models import Schedule
from app.models.states import Scope
from app.services.accounts import accounts
from app.services.accounts.accounts import AccountLimits
from app.services.schedules import runs
from tests.api.calling import created, empty, ok, path_of, refused

PROMPT = "Update the dependencies."
pytestmark = pytest.mark.same_on_both_databases


@pytest.fixture
def schedule_of(api):
    def make(site, **fields):
        given = {"cron": "0 9 * * MON", "timezone": "Europe/Berlin", "prompt": PROMPT, "agent": "claude", **fields}
        return created(api.post(f"/sites/{site['id']}/schedules", given))

    return make


def path(schedule, rest=""):
    return f"/sites/{schedule['site_id']}/schedules/{schedule['id']}{rest}"


def pass_time(schedule, days=1):
    """Make its next time one that came some days ago."""
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
    with db.transaction():
        mine = Schedule.id == uuid.UUID(schedule["id"])
        db.session.execute(sa.update(Schedule).where(mine).values(next_run_at=past))


def sweep():
    with db.transaction(read_only=True):
        due = runs.find_due(10)
    for schedule_id in due:
        with db.transaction():
            runs.run_due(schedule_id)


def test_a_schedule_is_created_changed_and_deleted(api, ada, make_site, schedule_of):
    schedule = schedule_of(make_site())
    assert (schedule["user_id"], schedule["overlap"], schedule["active"]) == (str(ada.user.id), "skip", True)
    assert len(schedule["next_times"]) == 5 and schedule["next_times"][0] == schedule["next_run_at"]
    assert {datetime.datetime.fromisoformat(time).weekday() for time in schedule["next_times"]} == {0}
    assert ok(api.get(path(schedule))) == schedule
    assert ok(api.get(f"/sites/{schedule['site_id']}/schedules")) == [schedule]

    stopped = ok(api.patch(path(schedule), {"active": False}))
    assert (stopped["next_run_at"], stopped["next_times"], stopped["cron"]) == (None, [], "0 9 * * MON")
    later = ok(api.patch(path(schedule), {"active": True, "cron": "0 9 * * TUE"}))
    assert datetime.datetime.fromisoformat(later["next_run_at"]).weekday() == 1

    empty(api.delete(path(schedule)), 204)
    refused(api.get(path(schedule)), 404, "schedule_not_found")


NOT_RUN = [
    ({"cron": "every day"}, "bad_cron"),
    ({"timezone": "Mars/Olympus"}, "unknown_timezone"),
    ({"agent": "nobody"}, "unknown_agent"),
    ({"branch": "a..b"}, "bad_branch"),
    ({"limits": {"max_duration_seconds": 2**31 - 1}}, "limit_too_high"),
]


def test_what_could_not_run_is_refused_at_once(api, make_site):
    site = make_site()
    for fields, code in NOT_RUN:
        given = {"cron": "0 9 * * *", "prompt": PROMPT, "agent": "claude", **fields}
        assert api.post(f"/sites/{site['id']}/schedules", given).json["error_code"] == code


def test_at_its_time_there_is_one_runner_however_many_times_have_passed(api, make_site, schedule_of):
    schedule = schedule_of(make_site(), cron="0 * * * *", name="Dependencies", branch="next")
    pass_time(schedule, days=3)
    sweep()
    sweep()
    [runner] = ok(api.get("/agent_runners"))
    assert (runner["title"], runner["branch"], runner["user"]["id"]) == ("Dependencies", "next", schedule["user_id"])
    after = ok(api.get(path(schedule)))
    assert (after["last_runner_id"], after["last_error"]) == (runner["id"], None)
    assert after["next_run_at"] > after["last_run_at"] and after["next_run_at"] >= schedule["next_run_at"]


def test_skip_leaves_a_time_out_while_the_runner_before_is_at_work(api, make_site, schedule_of):
    schedule = schedule_of(make_site())
    first = created(api.post(path(schedule, "/run")))["last_runner_id"]
    pass_time(schedule)
    sweep()
    after = ok(api.get(path(schedule)))
    assert (after["last_runner_id"], after["next_run_at"]) == (first, schedule["next_run_at"])
    assert "still at work" in after["last_error"]


def test_queue_waits_until_the_runner_before_is_done(api, make_site, schedule_of):
    schedule = schedule_of(make_site(), overlap="queue")
    first = created(api.post(path(schedule, "/run")))["last_runner_id"]
    pass_time(schedule)
    with db.transaction(read_only=True):
        assert runs.find_due(10) == [], "it holds up no others"
    sweep()
    assert ok(api.get(path(schedule)))["last_runner_id"] == first
    empty(api.delete(f"/agent_runners/{first}"), 202)
    sweep()
    assert ok(api.get(path(schedule)))["last_runner_id"] != first


def test_replace_stops_the_runner_before(api, make_site, schedule_of):
    schedule = schedule_of(make_site(), overlap="replace")
    first = created(api.post(path(schedule, "/run")))["last_runner_id"]
    pass_time(schedule)
    sweep()
    assert ok(api.get(f"/agent_runners/{first}"))["latest_session_state"] == "CANCELLED"
    second = ok(api.get(path(schedule)))["last_runner_id"]
    assert ok(api.get(f"/agent_runners/{second}"))["latest_session_state"] == "NEW"


def test_a_runner_that_is_refused_is_explained_and_the_next_time_follows(api, ada, make_site, schedule_of):
    schedule = schedule_of(make_site())
    with db.transaction():
        accounts.set_limits(ada.user.account_id, AccountLimits(max_queued_sessions=1))
    runner = created(api.post("/agent_runners", {"site_id": schedule["site_id"], "prompt": "x", "agent": "claude"}))
    pass_time(schedule)
    sweep()
    after = ok(api.get(path(schedule)))
    assert after["last_runner_id"] is None and "are waiting" in after["last_error"]
    assert after["next_run_at"] == schedule["next_run_at"]
    empty(api.delete(path_of(runner)), 202)
    pass_time(schedule)
    sweep()
    assert ok(api.get(path(schedule)))["last_error"] is None


def test_a_deleted_site_and_an_inactive_schedule_create_nothing(api, make_site, schedule_of):
    gone, stopped = schedule_of(make_site()), schedule_of(make_site())
    pass_time(gone)
    empty(api.delete(f"/sites/{gone['site_id']}"), 204)
    ok(api.patch(path(stopped), {"active": False}))
    sweep()
    assert ok(api.get("/agent_runners")) == []


def test_who_may_only_read_creates_no_runner_later(ada, make_site, schedule_of):
    schedule = schedule_of(make_site())
    reader = ada.holding(Scope.READ)
    assert ok(reader.get(path(schedule)))["id"] == schedule["id"]
    for answer in (
        reader.post(f"/sites/{schedule['site_id']}/schedules", {"cron": "* * * * *", "prompt": "x"}),
        reader.patch(path(schedule), {"prompt": "Another"}),
        reader.post(path(schedule, "/run")),
        reader.delete(path(schedule)),
    ):
        refused(answer, 403, "scope_missing")


def test_a_site_has_few_schedules(api, make_site, schedule_of):
    site = make_site()
    for _ in range(50):
        schedule_of(site)
    answer = api.post(f"/sites/{site['id']}/schedules", {"cron": "* * * * *", "prompt": "x", "agent": "claude"})
    refused(answer, 409, "too_many_schedules")
