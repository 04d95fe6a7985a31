"""Which agent, model, effort and limits a session gets."""

from __future__ import annotations

import pytest

from tests.api.calling import created, ok, path_of, refused, session_path

pytestmark = pytest.mark.same_on_both_databases

CHOSEN = {
    "agent": "claude",
    "model": "m1",
    "effort": "high",
    "limits": {"max_duration_seconds": 60, "max_cost_usd": 1.5, "max_tokens": 1000},
}


@pytest.fixture
def follow(api, worker, make_done_runner):
    """Follow up on a session that was asked for with `CHOSEN`; gives the new session."""

    def make(**fields):
        runner = make_done_runner(**CHOSEN, mode="ask")
        return created(api.post(path_of(runner, "/sessions"), {"prompt": "More.", **fields}))

    return make


@pytest.mark.parametrize("fields", [{}, dict.fromkeys(["agent", "model", "effort", "limits", "mode"])])
def test_a_follow_up_runs_as_the_session_before_it(follow, fields):
    session = follow(**fields)
    assert session["agent_config"] == {name: CHOSEN[name] for name in ("agent", "model", "effort")}
    assert session["limits"] == CHOSEN["limits"]
    assert session["mode"] == "normal"


def test_a_follow_up_changes_only_what_it_names(follow):
    session = follow(effort="low", limits={"max_tokens": 5, "max_cost_usd": None})
    assert session["agent_config"] == {"agent": "claude", "model": "m1", "effort": "low"}
    assert session["limits"] == {**CHOSEN["limits"], "max_tokens": 5}


def test_another_agent_does_not_take_over_a_model_that_is_not_its_own(follow):
    assert follow(agent="codex")["agent_config"] == {"agent": "codex", "model": None, "effort": None}


def test_a_follow_up_follows_the_latest_session_even_a_stopped_one(api, make_done_runner):
    runner = make_done_runner(agent="codex")
    created(api.post(path_of(runner, "/sessions"), {"prompt": "More.", "agent": "claude"}))
    api.delete(path_of(runner))
    session = created(api.post(path_of(runner, "/sessions"), {"prompt": "And more."}))
    assert session["agent_config"]["agent"] == "claude"


def test_a_follow_up_stays_within_the_limits_of_the_site_as_they_are_now(api, make_done_runner, make_site):
    site = make_site()
    runner = make_done_runner(site=site, **CHOSEN)
    ok(api.patch(f"/sites/{site['id']}", {"max_duration_seconds": 30, "max_cost_usd": 1}))
    limits = created(api.post(path_of(runner, "/sessions"), {"prompt": "More."}))["limits"]
    assert limits == {"max_duration_seconds": 30, "max_cost_usd": 1, "max_tokens": 1000}


@pytest.mark.parametrize(
    ("agents", "of_the_site", "expected"),
    [
        ("shell,claude,codex", None, "claude"),
        ("scripted,shell,codex,claude", None, "codex"),
        ("claude,shell", "shell", "shell"),
        ("shell,claude", "scripted", None),
    ],
)
def test_the_default_agent_takes_plain_language_unless_the_site_names_another(
    api, make_site, configure, agents, of_the_site, expected
):
    configure(AGENTS="shell,scripted,claude,codex")
    site = make_site(default_agent=of_the_site)
    configure(AGENTS=agents)
    response = api.post("/agent_runners", {"site_id": site["id"], "prompt": "Say hello."})
    if expected is None:
        assert "shell, claude" in refused(response, 422, "unknown_agent")["message"]
    else:
        assert ok(api.get(session_path(created(response))))["agent_config"]["agent"] == expected


def test_without_an_agent_for_plain_language_the_agent_is_required(api, make_site, make_runner, configure):
    configure(AGENTS="shell,scripted")
    site = make_site()
    body = refused(api.post("/agent_runners", {"site_id": site["id"], "prompt": "rm -rf ."}), 422, "no_default_agent")
    assert list(body["errors"]) == ["agent"] and "shell, scripted" in body["message"]
    runner = make_runner(site=site, agent="shell")
    assert ok(api.get(session_path(runner)))["agent_config"]["agent"] == "shell"
