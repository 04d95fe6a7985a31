"""The filters of the list of runners: by text, agent, parent, pull request and time of change."""

from __future__ import annotations

import uuid
from urllib.parse import quote

import pytest

from app import db
from app.models import AgentRunner
from app.models.states import PullRequestState
from app.services import lookup, pagination
from app.services.execution import lifecycle
from tests.api.calling import NOBODY, created, empty, ok, path_of, refused
from tests.api.lists import found, ids, links, walked


@pytest.fixture
def ask_again(api, worker):
    """Have another session of a runner done, with these fields."""

    def ask(runner, **fields):
        worker.run(created(api.post(path_of(runner, "/sessions"), {"prompt": "More.", **fields}))["id"])

    return ask


@pytest.mark.same_on_both_databases
def test_live_stands_for_new_and_running(api, make_runner, make_done_runner, worker):
    done, waiting, running = make_done_runner(), make_runner(), make_runner()
    worker.claim(running["latest_session_id"])
    assert found(api, state="live") == found(api, state="LIVE,new") == [running["id"], waiting["id"]]
    assert found(api, state="live,done") == [running["id"], waiting["id"], done["id"]]
    body = refused(api.get("/agent_runners?state=alive"), 422, "invalid")
    assert body["message"] == "state: must be one of NEW, RUNNING, ERROR, DONE, ARCHIVED, live"


def test_runners_are_filtered_by_the_agent_that_they_show(api, make_done_runner, ask_again, worker):
    other, changed, taken = (make_done_runner(agent="codex") for _ in range(3))
    ask_again(changed, agent="shell")
    claim = worker.claim(created(api.post(path_of(taken, "/sessions"), {"prompt": "x"}))["id"])
    worker.hand_over(claim, "claude")
    shown = {row["id"]: row["latest_session_agent"] for row in ok(api.get("/agent_runners"))}
    assert shown == {other["id"]: "codex", changed["id"]: "shell", taken["id"]: "claude"}
    for runner, agent in shown.items():
        assert found(api, agent=agent) == [runner]
    # The next attempt begins with the session's own agent.
    with db.transaction():
        runner, session = lookup.lock_session(claim.session.id)
        lifecycle.requeue(runner, session)
    worker.claim(str(claim.session.id))
    assert found(api, agent="claude") == [] and found(api, agent="codex") == [taken["id"], other["id"]]
    assert {row["latest_session_agent"] for row in ok(api.get("/agent_runners?agent=codex"))} == {"codex"}


@pytest.mark.same_on_both_databases
def test_an_agent_that_no_runner_can_have_is_refused_by_name(api, make_done_runner, configure):
    runner = make_done_runner(agent="codex")
    body = refused(api.get("/agent_runners?agent=nobody"), 422, "unknown_agent")
    assert "'nobody'" in body["message"] and "claude, " in body["message"]
    configure(AGENTS="claude")
    assert found(api, agent="codex") == [runner["id"]], "the deployment had it"
    assert refused(api.get("/agent_runners?agent=gemini"), 422, "unknown_agent")["message"].endswith(
        "name one of claude"
    )


@pytest.mark.same_on_both_databases
def test_runners_are_filtered_by_parent(api, make_done_runner, make_runner):
    parent, other = make_done_runner(), make_done_runner()
    child = make_runner(site={"id": parent["site_id"]}, parent_agent_runner_id=parent["id"])
    assert found(api, parent_agent_runner_id=parent["id"]) == [child["id"]]
    assert found(api, parent_agent_runner_id=other["id"]) == found(api, parent_agent_runner_id=NOBODY) == []
    assert found(api, parent_agent_runner_id=parent["id"], state="done") == []
    refused(api.get("/agent_runners?parent_agent_runner_id=mine"), 422, "invalid")


def test_runners_are_filtered_by_the_state_of_their_pull_request(api, make_site, make_done_runner):
    site = make_site()
    runners = {state: make_done_runner(site=site)["id"] for state in (None, *PullRequestState)}
    with db.transaction():
        for state, runner_id in runners.items():
            db.session.get_one(AgentRunner, uuid.UUID(runner_id)).pr_state = state
    for state in PullRequestState:
        assert found(api, pr_state=state.value) == [runners[state]]
        assert ok(api.get(path_of({"id": runners[state]})))["pr_state"] == state.value
    assert walked(api, "pr_state=OPEN,merged,open&state=done,error") == [runners["merged"], runners["open"]]
    assert found(api, pr_state="open", state="error") == []
    body = refused(api.get("/agent_runners?pr_state=none"), 422, "invalid")
    assert body["message"] == "pr_state: must be one of open, closed, merged, draft"


def test_prompts_are_found_in_any_case_and_however_they_are_wrapped(api, make_runner):
    texts = ("red bicycle", "RED  Bicycle", "größe", "GRÖSSE", "100%", "a_b", "two words", "zq")
    prompt = "Paint the Red bicycle.\nIt has the Größe 100% of a_b, in two\n  words: zq"
    runner, _ = make_runner(prompt=prompt, title="One"), make_runner(prompt="Do aXb, 1000 times", title="Other")
    for text in texts:
        assert found(api, q=text) == [runner["id"]], text
    # The index is no help for the short one.
    for text in ("red bicycle", "zq"):
        assert walked(api, f"q={quote(text)}") == [runner["id"]] and found(api, title=text) == [], text
    ok(api.patch(path_of(runner), {"title": "Renamed"}))
    for text in ("red bicycle", "zq"):
        assert found(api, q=text) == [runner["id"]], text
    assert found(api, q="renamed") == [runner["id"]] and found(api, q="one") == []


def test_the_prompts_of_all_sessions_and_the_title_are_searched_together(api, make_done_runner, ask_again):
    of_prompt = make_done_runner(prompt="Something else", title="First")
    of_title = make_done_runner(prompt="Other", title="About the hedgehog")
    ask_again(of_prompt, prompt="Now the Hedgehog")
    ask_again(of_prompt, prompt="The hedgehog again")
    both = [of_prompt["id"], of_title["id"]]
    response = api.get("/agent_runners?q=hedgehog&per_page=1")
    assert response.headers["Total"] == "2" and ids(response) == both[:1]
    assert ids(api.get(links(response)["next"])) == both[1:] and walked(api, "q=hedgehog") == both
    assert found(api, q="hedgehog", title="first") == both[:1]
    assert found(api, q="hedgehog", state="error") == []
    past = api.get("/agent_runners?q=hedgehog&page=9")
    assert ids(past) == [] and past.headers["Total"] == "2"
    assert found(api, q="unicorn") == [] and found(api, q=" ") == both
    api.post(path_of(of_title, "/archive"))
    assert found(api, q="hedgehog") == both[:1] and found(api, q="hedgehog", state="archived") == both[1:]
    refused(api.get("/agent_runners?q=%00"), 422, "invalid")
    refused(api.get("/agent_runners", query_string={"q": "x" * 501}), 422, "invalid")


def test_a_search_is_counted_up_to_a_limit_and_its_pages_go_on(api, five, monkeypatch):
    monkeypatch.setattr(pagination, "COUNTED", 3)
    response = api.get("/agent_runners?per_page=2&q=runner")
    assert (response.headers["Total"], response.headers["Total-Capped"]) == ("3", "true")
    seen = ids(response)
    while "next" in links(response):
        response = api.get(links(response)["next"])
        seen += ids(response)
    assert seen == five
    # Of what an index finds, the first may be no part of the list.
    assert found(api, q="runner", state="error") == [] and found(api, q="runner", title="runner 1") == [five[3]]


def test_the_beginning_of_a_long_prompt_is_searched(api, make_runner):
    runner = make_runner(prompt="x " * 990 + "needle" + " y" * 1000 + "haystack", title="Long")
    assert found(api, q="needle") == [runner["id"]] and found(api, q="haystack") == []


@pytest.mark.same_on_both_databases
def test_a_search_finds_nothing_of_another_account_or_a_deleted_site(api, join, make_done_runner):
    make_done_runner(prompt="About the hedgehog")
    assert found(join("Eve").admin, q="hedgehog") == []
    gone = make_done_runner(prompt="About the walrus")
    empty(api.delete(f"/sites/{gone['site_id']}"), 204)
    assert found(api, q="walrus") == []


def test_since_lists_what_was_updated_then_or_later(api, make_done_runner, follow_up):
    first, second, third = (make_done_runner() for _ in range(3))
    first = ok(api.patch(path_of(first), {"title": "Changed later"}))
    follow_up(second)
    second = ok(api.get(path_of(second)))
    for since, expected in ((third, [second, third, first]), (first, [second, first]), (second, [second])):
        listed = api.get(f"/agent_runners?since={since['updated_at']}")
        assert ids(listed) == [runner["id"] for runner in expected] and listed.headers["Total"] == str(len(expected))
    changed = [second["id"], first["id"]]
    for also in ("", "&state=done,error", "&to=20990101"):
        query = f"since={first['updated_at']}{also}"
        listed = api.get(f"/agent_runners?{query}")
        assert ids(listed) == walked(api, query) == changed and listed.headers["Total"] == "2", query
    for text in ("title", "q"):
        assert found(api, since=first["updated_at"], **{text: "later"}) == [first["id"]]
        assert found(api, since=second["updated_at"], **{text: "later"}) == []
    assert found(api, since="2099-01-01") == []
    created_first = {"since": third["updated_at"], "to": first["created_at"]}
    assert found(api, **created_first) == [first["id"]]
    body = refused(api.get("/agent_runners?since=yesterday"), 422, "invalid")
    assert body["message"].startswith("since: ") and "2026-01-31T12:00:00Z" in body["message"]


def test_who_asks_again_for_the_newest_time_misses_no_change(api, make_runner, make_done_runner, worker):
    old, waiting = make_done_runner(), make_runner()
    everything = {"state": "NEW,RUNNING,ERROR,DONE,ARCHIVED"}
    before = {row["id"]: row for row in ok(api.get("/agent_runners", query_string=everything))}
    for change in (
        lambda: api.patch(path_of(old), {"title": "New"}),
        lambda: worker.claim(waiting["latest_session_id"]),
        lambda: api.post(path_of(old, "/revert"), {"session_id": None}),
        lambda: api.delete(path_of(waiting)),
        lambda: api.post(path_of(old, "/sessions"), {"prompt": "More."}),
        lambda: api.delete(path_of(old)),
        lambda: api.post(path_of(old, "/archive")),
    ):
        newest = max(row["updated_at"] for row in before.values())
        change()
        listed = ok(api.get("/agent_runners", query_string={**everything, "since": newest}))
        after = {row["id"]: row for row in ok(api.get("/agent_runners", query_string=everything))}
        changed = [each for each in after if after[each]["updated_at"] != before[each]["updated_at"]]
        assert changed and set(changed) <= {row["id"] for row in listed}
        before = after
