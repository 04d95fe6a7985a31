"""The diff between two sessions, as callers ask for it. What workers make is tried in `tests/tasks`."""

from __future__ import annotations

import datetime
import uuid

import pytest
import sqlalchemy as sa

from app import db, queue
from app.models import Comparison
from app.models.short_task import EXPIRES_SECONDS
from app.models.states import SessionState
from app.services.runners import comparisons
from tests.api.calling import NOBODY, ok, patch_of, path_of, refused
from tests.services.conftest import listening

pytestmark = pytest.mark.same_on_both_databases


@pytest.fixture
def runner(make_done_runner):
    return make_done_runner(patch_of("one"))


def compare(api, runner, old, new):
    body = {"from_session_id": old, "to_session_id": new}
    return ok(api.post(path_of(runner, "/comparisons"), body))


def age(comparison, seconds):
    """Let the comparison have been requested earlier."""
    with db.transaction():
        row = db.session.get_one(Comparison, uuid.UUID(comparison["id"]))
        row.created_at -= datetime.timedelta(seconds=seconds)


def test_what_is_stored_already_is_done_at_once(api, runner, worker, follow_up):
    first = runner["latest_session_id"]
    second = follow_up(runner, patch_of("two"))["id"]
    for old, new, line in ((None, first, "one"), (first, second, "two")):
        made = compare(api, runner, old, new)
        assert (made["state"], made["has_diff"], made["failure"]) == ("done", True, None)
        diff = api.get(path_of(runner, f"/comparisons/{made['id']}/diff"))
        assert diff.text == patch_of(line) and diff.headers["ETag"] and diff.headers["Total"] == "1"
        (file,) = ok(api.get(path_of(runner, f"/comparisons/{made['id']}/diff/files")))
        assert file["path"] == "hello.txt"
    same = compare(api, runner, first, first)
    assert (same["state"], same["has_diff"]) == ("done", False)
    refused(api.get(path_of(runner, f"/comparisons/{same['id']}/diff")), 404, "no_diff")


def test_the_rest_waits_for_a_worker_and_a_pair_has_one_comparison(api, runner, follow_up):
    first, second = runner["latest_session_id"], follow_up(runner, patch_of("two"))["id"]
    made = compare(api, runner, second, first)
    assert (made["state"], made["has_diff"], made["done_at"]) == ("pending", False, None)
    assert compare(api, runner, second, first) == made == ok(api.get(path_of(runner, f"/comparisons/{made['id']}")))
    assert "pending" in refused(api.get(path_of(runner, f"/comparisons/{made['id']}/diff")), 404, "no_diff")["message"]
    with db.transaction():
        assert comparisons.claim(uuid.UUID(made["id"])) is not None
    with db.transaction():
        assert comparisons.claim(uuid.UUID(made["id"])) is None, "one worker makes it"
        comparisons.fail(uuid.UUID(made["id"]), "base_gone", "The base is gone.")
    failed = ok(api.get(path_of(runner, f"/comparisons/{made['id']}")))
    assert (failed["state"], failed["failure"]["code"]) == ("failed", "base_gone")
    again = compare(api, runner, second, first)
    assert again["state"] == "pending" and again["id"] != made["id"]
    age(again, EXPIRES_SECONDS + 1)
    assert ok(api.get(path_of(runner, f"/comparisons/{again['id']}")))["failure"]["code"] == "comparison_expired"


def test_a_comparison_is_kept_for_a_week(api, runner):
    first = runner["latest_session_id"]
    old = compare(api, runner, None, first)
    age(old, 8 * 86_400)
    assert compare(api, runner, None, first)["id"] != old["id"]
    refused(api.get(path_of(runner, f"/comparisons/{old['id']}")), 404, "comparison_not_found")
    with db.transaction(read_only=True):
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Comparison)) == 1


def test_what_cannot_be_compared_is_refused(api, runner, make_done_runner, follow_up):
    first, empty = runner["latest_session_id"], follow_up(runner, state=SessionState.ERROR)["id"]
    url = path_of(runner, "/comparisons")
    refused(api.post(url, {"from_session_id": first, "to_session_id": empty}), 400, "no_cumulative_diff")
    for other in (make_done_runner()["latest_session_id"], NOBODY):
        refused(api.post(url, {"from_session_id": other, "to_session_id": first}), 404, "session_not_found")
    refused(api.post(url, {}), 422, "invalid")


def test_an_account_waits_for_a_few_at_a_time_of_which_one_is_made(api, runner, follow_up, configure):
    configure(BROKER_URL="memory://", MAX_ACCOUNT_CONTROL_TASKS="1")
    sessions = [runner["latest_session_id"], *(follow_up(runner, patch_of(str(n)))["id"] for n in range(3))]
    backwards = [(new, old) for place, old in enumerate(sessions) for new in sessions[place + 1 :]]
    made = [compare(api, runner, new, old) for new, old in backwards[: comparisons.MOST_PENDING]]
    assert {each["state"] for each in made} == {"pending"}
    with db.transaction():
        claims = [comparisons.claim(uuid.UUID(each["id"])) is not None for each in made]
        assert claims == [True, False, False, False], "a slow repository holds one worker"
    new, old = backwards[comparisons.MOST_PENDING]
    body = {"from_session_id": new, "to_session_id": old}
    response = api.post(path_of(runner, "/comparisons"), body)
    refused(response, 429, "too_many_comparisons")
    assert response.headers["Retry-After"] == "5"
    with listening(queue.CONTROL) as dispatched:
        with db.transaction():
            comparisons.fail(uuid.UUID(made[0]["id"]), "base_gone", "The base is gone.")
        assert dispatched() == [made[1]["id"]], "the one that waits longest"
