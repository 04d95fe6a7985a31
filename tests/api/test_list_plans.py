"""Lists read their page from an index, however many rows there are: no table is scanned, and nothing long is sorted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from app import db
from app.services import pagination
from tests.api.calling import Api, ok, path_of
from tests.many_runners import copy_runner, remove_runners

RUNNERS = {"postgresql": 10_000, "sqlite": 4_000}
"""So many that the database prefers an index."""
A_PAGE = 200
"""More rows than a page has, and fewer than any of these lists."""


@pytest.fixture
def many(record: sa.Engine, make_done_runner: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """A runner with many copies of it."""
    runner = make_done_runner()
    copy_runner(record, runner["id"], RUNNERS[record.dialect.name])
    yield runner
    remove_runners(record)


def test_pages_are_read_from_an_index_of_however_many_runners(
    api: Api, many: dict[str, Any], record: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test for each database, since many runners take long to make."""
    check_that_every_filter_has_its_index(api, many)
    if record.dialect.name == "sqlite":
        check_that_prompts_are_searched_without_reading_other_events(api)
    else:
        check_that_runners_that_existed_at_a_time_and_changed_later_have_an_index(api)
        check_that_titles_are_found_in_an_index(api, monkeypatch)
        check_that_titles_and_prompts_are_found_in_their_indexes(api, monkeypatch)


def check_that_every_filter_has_its_index(api: Api, many: dict[str, Any]) -> None:
    now = many["created_at"]
    for query, index in {
        "": "by_state",
        "cursor=": "by_state",
        "page=50": "by_state",
        "state=error": "by_state",
        "state=error,archived": "by_state",
        "state=running": "by_state",
        "branch=branch-7": "by_branch",
        "branch=branch-7&state=error": "by_branch",
        "result_branch=agent/7": "by_result_branch",
        f"user_id={many['user']['id']}": "by_user",
        f"site_id={many['site_id']}": "by_site",
        f"from={now}": "by_state",
        f"to={now}": "by_state",
        f"since={now}": "by_state",
        f"since={now}&to={now}": "by_state",
        "agent=agent-7": "by_agent",
        "agent=agent-7&state=error": "by_agent",
        f"parent_agent_runner_id={many['id']}": "by_parent",
        "pr_state=open": "by_pr_state",
        "pr_state=open,merged&state=error": "by_pr_state",
        "state=live": "by_state",
    }.items():
        found = plans(api, f"/agent_runners?per_page=30&{query}")
        assert f"ix_agent_runners_{index}" in found[0], (query, found[0])
        for plan in found:
            assert_reads_no_more_than_a_page(plan, "agent_runners")

    for path in ("", "?order_by=desc", "?state=error&include_discarded=true"):
        of_runner = plans(api, path_of(many, f"/sessions{path}"))[0]
        assert_reads_no_more_than_a_page(of_runner, "agent_runner_sessions")


def check_that_runners_that_existed_at_a_time_and_changed_later_have_an_index(api: Api) -> None:
    walked = api.get("/agent_runners?per_page=100&page=50")
    time = ok(walked)[0]["created_at"]
    for query in (f"to={time}", f"since={time}"):
        plan = plans(api, f"/agent_runners?per_page=30&{query}")[0]
        assert "ix_agent_runners_changes" in plan, plan
        assert_reads_no_more_than_a_page(plan, "agent_runners")


def check_that_titles_are_found_in_an_index(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    index, in_order = "ix_agent_runners_title_search", "ix_agent_runners_newest"
    for title in ("number 2777", "of no runner"):
        (search,) = plans(api, f"/agent_runners?per_page=30&title={title}")
        assert index in search and in_order not in search, (title, search)
    # No trigram is in it, so the index would be read as a whole.
    (search,) = plans(api, "/agent_runners?per_page=30&title=zq")
    assert index not in search, search
    # What many titles contain is found sooner in the order of the list.
    with monkeypatch.context() as patch:
        patch.setattr(pagination, "COUNTED", 1000)
        assert in_order in plans(api, "/agent_runners?per_page=30&title=task")[-1]


def check_that_titles_and_prompts_are_found_in_their_indexes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    of_titles, of_prompts = "ix_agent_runners_title_search", "ix_events_prompt_search"
    for text in ("number 2777", "do task number 2777", "of no runner"):
        (search,) = plans(api, f"/agent_runners?per_page=30&q={text}")
        assert of_titles in search and of_prompts in search, (text, search)
    # No trigram is in it.
    (search,) = plans(api, "/agent_runners?per_page=30&q=zq")
    assert of_titles not in search and of_prompts not in search, search
    # What many prompts contain is found sooner in the order of the list.
    with monkeypatch.context() as patch:
        patch.setattr(pagination, "COUNTED", 1000)
        walk = plans(api, "/agent_runners?per_page=30&q=do task")[-1]
    assert "ix_agent_runners_newest" in walk and "ix_events_prompts" in walk, walk


def check_that_prompts_are_searched_without_reading_other_events(api: Api) -> None:
    (search,) = plans(api, "/agent_runners?per_page=30&q=do task number 2777")
    assert (
        "SCAN events USING INDEX ix_events_prompts" in search or "SEARCH events USING INDEX ix_events_prompts" in search
    )


def plans(api: Api, path: str) -> list[str]:
    """Call `path`; the database's plans for those of its statements that read a list."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "LIMIT" in statement:
            statements.append((statement, parameters))

    sa.event.listen(db.engine(), "before_cursor_execute", note)
    try:
        ok(api.get(path))
    finally:
        sa.event.remove(db.engine(), "before_cursor_execute", note)
    with db.engine().connect() as connection:
        return [explain(connection, *statement) for statement in statements]


def explain(connection: sa.Connection, statement: str, parameters: Any) -> str:
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return "\n".join(row.detail for row in rows)
    return json.dumps(connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar(), indent=1)


def assert_reads_no_more_than_a_page(plan: str, table: str) -> None:
    """Check that the table is not scanned, and that nothing is sorted but the rows of the page."""
    if not plan.startswith("["):
        inner = plan.split("SCAN anon_1")[0]
        assert f"SCAN {table}" not in plan and "TEMP B-TREE" not in inner, plan
        return
    for node in nodes(json.loads(plan)[0]["Plan"]):
        assert not (node["Node Type"] == "Seq Scan" and node["Relation Name"] == table), plan
        assert "Sort" not in node["Node Type"] or node["Plan Rows"] <= A_PAGE, plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)
