"""Pages, cursors, order and filters."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app import db
from app.models import User
from app.models.states import Scope
from app.services import pagination
from app.services.accounts import tokens
from tests.api.calling import NOBODY, created, empty, ok, path_of, refused
from tests.api.lists import ids, links, walked


def test_pages_have_the_total_and_links_to_their_neighbours(api, five):
    first = api.get("/agent_runners?per_page=2&title=runner")
    assert ids(first) == five[:2] and first.headers["Total"] == "5"
    assert set(links(first)) == {"first", "next", "last"}
    second = api.get(links(first)["next"])
    assert ids(second) == five[2:4] and set(links(second)) == {"first", "prev", "next", "last"}
    assert "title=runner" in links(second)["prev"] and "per_page=2" in links(second)["last"]
    last = api.get(links(second)["last"])
    assert ids(last) == five[4:] and set(links(last)) == {"first", "prev", "last"}
    assert ids(api.get(links(last)["first"])) == five[:2]


def test_past_the_end_there_is_nothing(api, five):
    for filters in ("", "&title=runner"):
        response = api.get(f"/agent_runners?page=9&per_page=2{filters}")
        assert ids(response) == [] and response.headers["Total"] == "5", filters
        assert "page=3" in links(response)["prev"]
    assert ids(api.get("/agent_runners?page=99999999999999999999999")) == []


@pytest.mark.same_on_both_databases
def test_an_empty_list_is_an_array(api):
    response = api.get("/agent_runners")
    assert ok(response) == [] and response.headers["Total"] == "0"
    assert set(links(response)) == {"first", "last"}


@pytest.mark.same_on_both_databases
def test_more_than_a_hundred_rows_of_a_page_are_clamped(api, five):
    response = api.get("/agent_runners?per_page=1000")
    assert len(ids(response)) == 5
    assert all("per_page=100&" in url for url in links(response).values())


UNKNOWN = ["/agent_runners?stat=DONE", "/sites?title=x", f"/agent_runners/{NOBODY}?x=", "/tokens?per-page=5"]


@pytest.mark.same_on_both_databases
def test_an_unknown_parameter_is_refused_by_name(api):
    for path in UNKNOWN:
        name = path.split("?")[1].split("=")[0]
        body = refused(api.get(path), 422, "invalid")
        assert list(body["errors"]) == [name] and body["message"] == f"{name}: is not a parameter of this operation"


TWICE = ["/agent_runners?state=DONE&state=live", "/sites?page=1&page=2", "/me?x=1&x=1"]


@pytest.mark.same_on_both_databases
def test_a_parameter_that_is_given_twice_is_refused_by_name(api):
    for path in TWICE:
        name = path.split("?")[1].split("=")[0]
        body = refused(api.get(path), 422, "invalid")
        assert body["errors"] == {name: ["is given more than once; separate several values by commas"]}


@pytest.mark.same_on_both_databases
def test_tokens_come_in_pages(api):
    made = [created(api.post("/tokens", {"name": f"t{n}", "scope": "read"}))["id"] for n in range(2)]
    first = api.get("/tokens?per_page=2")
    assert first.headers["Total"] == "3" and ids(first)[1] == made[0]
    assert ids(api.get(links(first)["next"])) == made[1:]
    walk = api.get("/tokens?cursor=&per_page=2")
    assert ids(api.get(links(walk)["next"])) == made[1:]


PAGES = ["page=0", "page=-1", "page=x", "per_page=0", "per_page=x", "page=1.5"]


@pytest.mark.same_on_both_databases
def test_an_invalid_page_is_refused(api):
    for query in PAGES:
        body = refused(api.get(f"/agent_runners?{query}"), 422, "invalid")
        assert query.split("=")[0] in body["errors"]


def test_a_walk_by_cursor_sees_each_row_once(api, five, make_runner, make_site):
    response, seen = api.get("/agent_runners?cursor=&per_page=2"), []
    while True:
        seen += ids(response)
        if len(seen) == 2:
            make_runner()  # What is new lies behind the walker, in front of the list.
        if "next" not in links(response):
            break
        assert "cursor=" in links(response)["next"] and "&page=" not in links(response)["next"]
        response = api.get(links(response)["next"])
        assert "Total" not in response.headers
    assert seen == five


CURSORS = ["x", "!!", "W10", "bnVsbA", "WzEsMl0", "é", "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjU5IiwgIjAiXQ"]


@pytest.mark.same_on_both_databases
def test_a_made_up_cursor_is_refused(api):
    for cursor in CURSORS:
        response = api.get("/agent_runners", query_string={"cursor": cursor})
        assert "cursor" in refused(response, 422, "bad_cursor")["errors"]


def test_sessions_are_walked_both_ways(api, make_done_runner, follow_up):
    runner = make_done_runner()
    all_ids = [runner["latest_session_id"], *(follow_up(runner)["id"] for _ in range(3))]
    path = path_of(runner, "/sessions")
    assert ids(api.get(path)) == all_ids
    assert ids(api.get(f"{path}?order_by=DESC")) == all_ids[::-1]
    for order, expected in (("asc", all_ids), ("desc", all_ids[::-1])):
        first = api.get(f"{path}?cursor=&per_page=3&order_by={order}")
        assert ids(first) + ids(api.get(links(first)["next"])) == expected
    refused(api.get(f"{path}?order_by=sideways"), 422, "invalid")


@pytest.mark.same_on_both_databases
def test_sites_and_their_order(api, make_site):
    sites = [make_site(name=f"site {n}")["id"] for n in range(3)]
    assert ids(api.get("/sites")) == sites
    first = api.get("/sites?cursor=&per_page=2")
    assert ids(first) + ids(api.get(links(first)["next"])) == sites


@pytest.mark.same_on_both_databases
def test_a_follow_up_moves_a_runner_to_the_front(api, make_done_runner, follow_up):
    old, new = make_done_runner(), make_done_runner()
    assert ids(api.get("/agent_runners")) == [new["id"], old["id"]]
    follow_up(old)
    assert ids(api.get("/agent_runners")) == [old["id"], new["id"]]


@pytest.mark.same_on_both_databases
def test_runners_are_filtered_by_state(api, make_runner, make_done_runner):
    done, waiting = make_done_runner(), make_runner()
    assert ids(api.get("/agent_runners?state=new")) == [waiting["id"]]
    assert ids(api.get("/agent_runners?state=Done, NEW")) == [waiting["id"], done["id"]]
    assert ids(api.get("/agent_runners?state=error")) == []
    assert "state" in refused(api.get("/agent_runners?state=asleep"), 422, "invalid")["errors"]


@pytest.mark.same_on_both_databases
def test_archived_runners_are_listed_only_when_asked_for(api, make_done_runner):
    archived, other = make_done_runner(), make_done_runner()
    api.post(path_of(archived, "/archive"))
    assert ids(api.get("/agent_runners")) == [other["id"]]
    assert ids(api.get("/agent_runners?state=archived")) == [archived["id"]]
    assert len(ids(api.get("/agent_runners?state=archived,done"))) == 2


def test_runners_are_filtered_by_what_they_are(api, ada, make_runner, make_site):
    site = make_site()
    one = make_runner(site=site, title="Fix 100% of it", branch="main")
    two = make_runner(title="Other_thing", branch="topic")
    for query, expected in {
        "title=FIX": [one],
        "title=%25": [one],
        "title=r_t": [two],
        "title=rxt": [],
        "branch=topic": [two],
        f"site_id={site['id']}": [one],
        f"user_id={ada.user.id}": [two, one],
        f"user_id={NOBODY}": [],
        "result_branch=agent/x": [],
    }.items():
        assert ids(api.get(f"/agent_runners?{query}")) == [runner["id"] for runner in expected], query
    refused(api.get("/agent_runners?user_id=me"), 422, "invalid")
    refused(api.get("/agent_runners?title=%00"), 422, "invalid")


TITLES = {
    "Größe ändern": ["GRÖSSE", "Ändern", "A\u0308NDERN"],
    "ПРИВЕТ": ["привет"],
    "Οδός": ["ΟΔΌΣ", "οδόσ"],
    "\u0130stanbul": ["i\u0307STANBUL"],
}


def test_titles_are_found_in_any_case_of_any_script(api, make_site, make_runner):
    site = make_site()
    runners = {title: make_runner(site=site, title=title) for title in TITLES}
    for title, others in TITLES.items():
        for asked in (title, *others):
            assert ids(api.get("/agent_runners", query_string={"title": asked})) == [runners[title]["id"]], asked
    ok(api.patch(path_of(runners["ПРИВЕТ"]), {"title": "Other"}))
    assert ids(api.get("/agent_runners", query_string={"title": "ПРИВЕТ"})) == []
    assert ids(api.get("/agent_runners", query_string={"title": "OTHER"})) == [runners["ПРИВЕТ"]["id"]]


def test_bounds_of_time_are_inclusive(api, make_runner):
    runner = make_runner()
    # The list of sessions reads them alike.
    for path, made in (
        ("/agent_runners", runner["created_at"]),
        (path_of(runner, "/sessions"), runner["last_session_created_at"]),
    ):
        for query, found in {f"from={made}&to={made}": True, "from=20990101": False, "to=0": False}.items():
            assert bool(ids(api.get(f"{path}?{query}"))) == found, query


@pytest.mark.same_on_both_databases
def test_bounds_of_time_take_several_spellings(api, make_runner):
    made = make_runner()["created_at"]
    for query, found in {
        f"created_at_from={made}&created_at_to={made}": True,
        f"created_at_from={made[:-1]}%2B00:00": True,
        f"created_at_from={made[:-1]}+00:00": True,
        f"created_at_from={made[:-1].replace('T', ' ')}+00:00": True,
        f"created_at_from={made[:-1].replace('T', ' ')}": True,
        "from=20000101": True,
        "from=20990101T000000Z": False,
        "to=19700101": False,
        "from=2000-01-01": True,
        "from=0": True,
        "from=4102444800": False,
        "created_at_to=2000-01-01T00:00:00Z": False,
    }.items():
        assert bool(ids(api.get(f"/agent_runners?{query}"))) == found, query


NO_TIMES = ["yesterday", "inf", "nan", "1e300", "0001-01-01T00:00:00+23:59", "", "2026", "202601", "20260199"]


@pytest.mark.same_on_both_databases
def test_text_that_is_not_a_time_is_refused(api):
    for moment in NO_TIMES:
        response = api.get("/agent_runners", query_string={"created_at_from": moment})
        body = refused(response, 422, "invalid")
        assert "created_at_from" in body["errors"] and "2026-01-31T12:00:00Z" in body["message"]


@pytest.mark.same_on_both_databases
def test_sessions_are_filtered_by_state_and_discarded_ones_left_out(api, make_done_runner, follow_up):
    runner = make_done_runner()
    second = follow_up(runner, "diff --git a/b b/b\n")
    ok(api.post(path_of(runner, "/revert"), {"session_id": runner["latest_session_id"]}))
    path = path_of(runner, "/sessions")
    assert ids(api.get(path)) == [runner["latest_session_id"]]
    assert ids(api.get(f"{path}?include_discarded=true")) == [runner["latest_session_id"], second["id"]]
    assert ids(api.get(f"{path}?state=cancelled,error")) == []
    waiting = created(api.post(path, {"prompt": "x"}))
    assert ids(api.get(f"{path}?state=new")) == [waiting["id"]]


def test_a_list_is_counted_up_to_a_limit_and_its_pages_go_on(api, five, monkeypatch):
    monkeypatch.setattr(pagination, "COUNTED", 3)
    first = api.get("/agent_runners?per_page=2")
    assert (first.headers["Total"], first.headers["Total-Capped"]) == ("3", "true")
    assert set(links(first)) == {"first", "next"}
    second = api.get(links(first)["next"])
    assert ids(second) == five[2:4] and set(links(second)) == {"first", "prev", "next"}
    last = api.get(links(second)["next"])
    assert ids(last) == five[4:] and set(links(last)) == {"first", "prev"}
    assert last.headers["Total-Capped"] == "true"
    past = api.get("/agent_runners?per_page=2&page=9")
    assert ids(past) == [] and set(links(past)) == {"first", "prev"}
    searched = api.get("/agent_runners?per_page=2&page=2&title=runner")
    assert ids(searched) == five[2:4] and searched.headers["Total-Capped"] == "true"
    short = api.get("/agent_runners?per_page=2&title=runner 1")
    assert short.headers["Total"] == "1" and "Total-Capped" not in short.headers


@pytest.mark.same_on_both_databases
def test_runners_of_a_deleted_site_are_not_listed(api, make_site, make_done_runner):
    kept, gone = make_done_runner(), make_done_runner()
    empty(api.delete(f"/sites/{gone['site_id']}"), 204)
    for query in ("", "?state=done,error", f"?title={gone['title']}", "?branch=main"):
        assert ids(api.get(f"/agent_runners{query}")) == [kept["id"]], query
    assert ids(api.get(f"/agent_runners?site_id={gone['site_id']}")) == []
    assert [row["id"] for row in ok(api.get("/sites"))] == [kept["site_id"]]


@pytest.mark.same_on_both_databases
def test_a_state_that_is_named_twice_lists_its_runners_once(api, make_runner):
    runner = make_runner()
    assert ids(api.get("/agent_runners?state=new,NEW,new")) == [runner["id"]]


def test_a_list_names_everybody_who_contributed_once_in_order(api, ada, make_done_runner, worker):
    runner = make_done_runner()
    with db.transaction():
        bob = User(account_id=ada.user.account_id, email="bob@example.org", full_name="Bob")
        db.session.add(bob)
        db.session.flush()
        by_bob = api.with_token(tokens.create(bob, Scope.WRITE, "bob")[1])
    for by in (by_bob, api, by_bob):
        worker.run(created(by.post(path_of(runner, "/sessions"), {"prompt": "More."}))["id"])
    (listed,) = ok(api.get("/agent_runners"))
    assert [user["email"] for user in listed["contributors"]] == ["ada@example.org", "bob@example.org"]


def test_a_list_takes_no_more_statements_for_many_runners_than_for_one(api, make_runner, record):
    def count():
        executed = []
        note = lambda *event: executed.append(event)  # noqa: E731
        sa.event.listen(db.engine(), "before_cursor_execute", note)
        ok(api.get("/agent_runners"))
        sa.event.remove(db.engine(), "before_cursor_execute", note)
        return len(executed)

    make_runner()
    of_one = count()
    for _ in range(4):
        make_runner()
    assert count() == of_one


def test_bounds_of_time_are_of_the_creation_whatever_followed(api, make_site, make_done_runner, follow_up):
    site = make_site()
    first, second, third = (make_done_runner(site=site) for _ in range(3))
    follow_up(first)
    follow_up(second)
    for query, expected in {
        f"to={first['created_at']}": [first],
        f"to={second['created_at']}": [second, first],
        f"to={third['created_at']}": [second, first, third],
        f"from={second['created_at']}": [second, third],
        f"from={second['created_at']}&to={second['created_at']}": [second],
        f"to={third['created_at']}&state=done,error": [second, first, third],
        f"to={third['created_at']}&title=say": [second, first, third],
    }.items():
        assert ids(api.get(f"/agent_runners?{query}")) == [runner["id"] for runner in expected], query
        if len(expected) == 3:
            assert walked(api, query) == [runner["id"] for runner in expected], query
