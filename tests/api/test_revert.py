"""Moving the head: revert, undo, adopt; and what counts as discarded."""

from __future__ import annotations

import pytest

from app import db
from app.models import Publication
from app.models.states import PublicationState, SessionState
from app.services.execution import session_attempts
from app.services.execution.outcomes import Work
from tests.api.calling import NOBODY, created, empty, ok, patch_of, path_of, refused, session_path

pytestmark = pytest.mark.same_on_both_databases


@pytest.fixture
def two(api, make_done_runner, follow_up):
    """A runner with two sessions that each changed something: the runner and their ids."""
    runner = make_done_runner(patch_of("one"))
    second = follow_up(runner, patch_of("two"))
    return runner, runner["latest_session_id"], second["id"]


def discarded(api, runner):
    rows = ok(api.get(path_of(runner, "/sessions?include_discarded=true")))
    return [row["id"] for row in rows if row["is_discarded"]]


def revert(api, runner, session_id):
    return api.post(path_of(runner, "/revert"), {"session_id": session_id})


def test_a_revert_moves_the_head_and_discards_what_came_after(api, two):
    runner, first, second = two
    changed = ok(revert(api, runner, first))
    assert changed["head_session_id"] == first and discarded(api, runner) == [second]
    assert api.get(path_of(runner, "/diff")).text == patch_of("one")


def test_a_revert_is_undone_by_naming_the_discarded_session(api, two):
    runner, first, second = two
    ok(revert(api, runner, first))
    assert ok(revert(api, runner, second))["head_session_id"] == second and discarded(api, runner) == []
    assert api.get(path_of(runner, "/diff")).text == patch_of("two")


def test_null_goes_back_to_the_base(api, two):
    runner, first, second = two
    changed = ok(revert(api, runner, None))
    assert changed["head_session_id"] is None and not changed["has_result_diff"] and changed["state"] == "DONE"
    assert discarded(api, runner) == [first, second]
    refused(api.get(path_of(runner, "/diff")), 404, "no_diff")


def test_the_next_session_builds_on_what_was_reverted_to(api, two, worker):
    runner, first, second = two
    ok(revert(api, runner, first))
    third = created(api.post(path_of(runner, "/sessions"), {"prompt": "x"}))
    assert third["parent_session_id"] == first
    worker.run(third["id"], patch_of("three"))
    assert discarded(api, runner) == [second]


def test_work_that_was_kept_is_adopted(api, two, worker):
    runner, *_ = two
    stopped = created(api.post(path_of(runner, "/sessions"), {"prompt": "x"}))
    claim = worker.claim(stopped["id"])
    empty(api.delete(path_of(runner)), 202)
    refused(revert(api, runner, stopped["id"]), 400, "no_cumulative_diff")
    keys = {f"{kind}_diff_key": worker.store(claim, kind, patch_of("kept")) for kind in ("result", "cumulative")}
    with db.transaction():
        assert session_attempts.keep_work(claim.session.id, claim.attempt, Work(**keys))
    assert api.get(path_of(runner, "/diff")).text == patch_of("two")
    assert api.get(session_path(runner, stopped["id"], "/diff/result")).text == patch_of("kept")
    assert ok(revert(api, runner, stopped["id"]))["head_session_id"] == stopped["id"]
    assert api.get(path_of(runner, "/diff")).text == patch_of("kept") and discarded(api, runner) == []
    assert ok(api.get(session_path(runner, stopped["id"])))["state"] == "CANCELLED"


def test_the_work_of_an_error_does_not_move_the_head_but_may_be_adopted(api, two, follow_up):
    runner, _, second = two
    failed = follow_up(runner, patch_of("half"), state=SessionState.ERROR)
    assert ok(api.get(path_of(runner)))["head_session_id"] == second
    assert ok(revert(api, runner, failed["id"]))["head_session_id"] == failed["id"]


def test_a_session_without_changes_is_discarded_with_its_parent(api, two, follow_up):
    runner, first, second = two
    asked = follow_up(runner)
    assert ok(api.get(path_of(runner)))["head_session_id"] == second and discarded(api, runner) == []
    ok(revert(api, runner, first))
    assert discarded(api, runner) == [second, asked["id"]]


def test_a_revert_is_refused_while_a_session_is_active(api, two):
    runner, first, _ = two
    created(api.post(path_of(runner, "/sessions"), {"prompt": "x"}))
    refused(revert(api, runner, first), 409, "active_session_exists")


def test_committed_work_is_not_discarded(api, two):
    runner, first, second = two
    ok(api.post(path_of(runner, "/commit"), {"target_branch": "staging"}))
    with db.transaction():
        db.session.query(Publication).update({"state": PublicationState.DONE})
    refused(revert(api, runner, first), 400, "already_landed")
    assert discarded(api, runner) == [] and ok(api.get(path_of(runner)))["head_session_id"] == second
    refused(revert(api, runner, None), 400, "already_landed")


def test_what_was_pushed_to_a_pull_request_may_be_discarded(api, make_done_runner, follow_up):
    runner = make_done_runner()
    follow_up(runner, patch_of("two"))
    ok(api.post(path_of(runner, "/pull_request"), {}))
    with db.transaction():
        db.session.query(Publication).update({"state": PublicationState.DONE})
    ok(revert(api, runner, runner["latest_session_id"]))


@pytest.mark.parametrize("session_id", [NOBODY, "first"])
def test_an_unknown_session_answers_404(api, two, session_id):
    assert revert(api, two[0], session_id).status_code == 404


def test_the_session_must_be_named(api, two):
    assert "session_id" in refused(api.post(path_of(two[0], "/revert"), {}), 422, "invalid")["errors"]
