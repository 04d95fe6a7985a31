"""Refreshes and rebases, as they are requested."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa

from app import db
from app.models import AgentRunner
from app.models.states import PullRequestState
from app.services.publishing import base_drift
from tests.api.calling import created, ok, patch_of, path_of, refused

pytestmark = pytest.mark.same_on_both_databases


@pytest.fixture
def runner(api, make_done_runner, worker):
    """A runner whose base is known."""
    made = make_done_runner(None)
    session = created(api.post(path_of(made, "/sessions"), {"prompt": "More."}))
    worker.run(session["id"], patch_of("two"), base_sha="a" * 40)
    return ok(api.get(path_of(made)))


def test_a_refresh_is_in_progress_until_it_is_done(api, runner, make_runner):
    assert runner["base_sha"] == "a" * 40
    for _ in range(2):
        assert ok(api.post(path_of(runner, "/refresh")))["is_being_refreshed"] is True
    refused(api.post(path_of(make_runner(), "/refresh")), 409, "no_base")


def test_a_rebase_is_a_session(api, runner):
    session = created(api.post(path_of(runner, "/rebase")))
    assert (session["mode"], session["parent_session_id"]) == ("rebase", runner["latest_session_id"])
    assert session["prompt"] == "Reapply the work on the tip of main."
    refused(api.post(path_of(runner, "/rebase")), 409, "active_session_exists")


def test_an_agent_that_is_to_resolve_conflicts_is_told_how(api, runner, worker):
    refused(api.post(path_of(runner, "/rebase"), {"prompt": "Keep ours."}), 422, "prompt_without_agent")
    session = created(api.post(path_of(runner, "/rebase"), {"resolve": "agent", "prompt": "Keep ours."}))
    shown = [session[name] for name in ("mode", "resolve", "prompt", "may_ask")]
    assert shown == ["rebase", "agent", "Keep ours.", False]
    worker.run(session["id"], patch_of("three"), base_sha="b" * 40)
    again = created(api.post(path_of(runner, f"/sessions/{session['id']}/retry")))
    assert (again["mode"], again["resolve"]) == ("rebase", "agent")


def test_an_agent_that_runs_scripts_needs_one_to_resolve_conflicts(api, runner, worker):
    session = created(api.post(path_of(runner, "/sessions"), {"prompt": "true", "agent": "shell"}))
    worker.run(session["id"], patch_of("three"), base_sha="a" * 40)
    refused(api.post(path_of(runner, "/rebase"), {"resolve": "agent"}), 422, "prompt_missing")
    created(api.post(path_of(runner, "/rebase"), {"resolve": "agent", "prompt": "git checkout --ours ."}))


def test_what_cannot_be_rebased_is_refused(api, runner, make_done_runner):
    refused(api.post(path_of(make_done_runner(None), "/rebase")), 422, "no_diff")
    ok(api.patch(f"/sites/{runner['site_id']}", {"execution": "external"}))
    refused(api.post(path_of(runner, "/rebase")), 422, "external_site")


def test_a_prompt_does_not_choose_the_mode_rebase(api, runner):
    answer = api.post(path_of(runner, "/sessions"), {"prompt": "x", "mode": "rebase"})
    assert "mode" in answer.json["errors"] and answer.status_code == 422


@pytest.fixture
def old(api, runner):
    """A runner whose values are older than they may be."""
    set_times(runner, done_at=db.now(-601))
    return runner


def set_times(runner, **times):
    with db.transaction():
        values = {**times, "updated_at": AgentRunner.updated_at}
        db.session.execute(sa.update(AgentRunner).where(AgentRunner.id == uuid.UUID(runner["id"])).values(values))


def is_being_refreshed(api, runner):
    """Whether reading the runner once has made it so."""
    ok(api.get(path_of(runner)))
    return ok(api.get(path_of(runner)))["is_being_refreshed"]


def test_reading_a_runner_with_old_values_refreshes_it_once(api, old):
    first = ok(api.get(path_of(old)))
    after = ok(api.get(path_of(old)))
    assert (first["is_being_refreshed"], after["is_being_refreshed"]) == (False, True)
    assert first["updated_at"] == after["updated_at"]
    with db.transaction():
        base_drift.record_failure(uuid.UUID(old["id"]), "The forge is unavailable.")
    assert not is_being_refreshed(api, old), "a refresh that failed is not repeated with each read"
    set_times(old, refresh_requested_at=db.now(-601))
    assert is_being_refreshed(api, old)


def test_reading_lists_and_what_is_decided_refreshes_nothing(api, old, configure):
    assert [each["is_being_refreshed"] for each in ok(api.get("/agent_runners"))] == [False]
    assert [each["is_being_refreshed"] for each in ok(api.get("/agent_runners"))] == [False]
    set_times(old, pr_state=PullRequestState.MERGED)
    assert not is_being_refreshed(api, old)
    set_times(old, pr_state=PullRequestState.OPEN, done_at=db.now(-500))
    assert not is_being_refreshed(api, old)
    set_times(old, done_at=db.now(-601))
    configure(REFRESH_SECONDS="0")
    assert not is_being_refreshed(api, old)


def test_few_of_an_account_are_refreshed_at_once(api, old, make_done_runner, monkeypatch):
    monkeypatch.setattr(base_drift, "MOST_IN_BACKGROUND", 1)
    other = make_done_runner()
    ok(api.post(path_of(old, "/refresh")))
    set_times(other, base_sha="b" * 40, done_at=db.now(-601))
    assert not is_being_refreshed(api, other)
    with db.transaction():
        base_drift.record_failure(uuid.UUID(old["id"]), "The forge is unavailable.")
    assert is_being_refreshed(api, other)
