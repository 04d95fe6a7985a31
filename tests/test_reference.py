"""The reference's endpoints exist exactly, and docs/api.md tells of every other route and of every error code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app.models.states import RunnerState, SessionState
from tests.application import application

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "api.md").read_text()
REFERENCE = [
    "",
    "GET /agent_runners",
    "GET /agent_runners/:id",
    "POST /agent_runners",
    "PATCH /agent_runners/:id",
    "DELETE /agent_runners/:id",
    "GET /agent_runners/:id/diff",
    "POST /agent_runners/:id/archive",
    "POST /agent_runners/:id/revert",
    "POST /agent_runners/:id/pull_request",
    "POST /agent_runners/:id/commit",
    "POST /agent_runners/upload_url",
    "POST /agent_runners/delete_url",
    "GET /agent_runners/:id/sessions",
    "GET /agent_runners/:id/sessions/:session_id",
    "POST /agent_runners/:id/sessions",
    "PATCH /agent_runners/:id/sessions/:session_id",
    "DELETE /agent_runners/:id/sessions/:session_id",
    "GET /agent_runners/:id/sessions/:session_id/diff/result",
    "GET /agent_runners/:id/sessions/:session_id/diff/cumulative",
    "POST /agent_runners/:id/sessions/:session_id/diff/upload_urls",
    "",
][1:-1]


@pytest.fixture
def app(configured: pytest.MonkeyPatch) -> Flask:
    return application()


def routes(app: Flask) -> Iterator[str]:
    """`GET /agent_runners/:id`, as the reference writes it."""
    names = {
        "agent_runner_id": "id",
        "site_id": "id",
        "token_id": "id",
        "webhook_id": "id",
        "budget_id": "id",
        "member_id": "id",
        "forge_account_id": "id",
    }
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith(("to_docs", "console.")):
            continue
        path = re.sub(r"<(?:[^:<>]+:)?(\w+)>", lambda match: f":{names.get(match[1], match[1])}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield f"{method} {path.removeprefix('/api/v1')}"


def test_the_twenty_endpoints_of_the_reference_exist(app: Flask) -> None:
    assert len(REFERENCE) == 20 and set(REFERENCE) <= set(routes(app))


def test_nothing_is_below_agent_runners_but_what_we_added(app: Flask) -> None:
    below = {route for route in routes(app) if "/agent_runners" in route}
    assert below - set(REFERENCE) == {
        "POST /agent_runners/:id/unarchive",
        "POST /agent_runners/:id/purge",
        "POST /agent_runners/:id/refresh",
        "POST /agent_runners/:id/rebase",
        "GET /agent_runners/:id/diff/files",
        "POST /agent_runners/:id/comparisons",
        "GET /agent_runners/:id/comparisons/:comparison_id",
        "GET /agent_runners/:id/comparisons/:comparison_id/diff",
        "GET /agent_runners/:id/comparisons/:comparison_id/diff/files",
        "GET /agent_runners/:id/sessions/:session_id/diff/files",
        "GET /agent_runners/:id/events",
        "GET /agent_runners/:id/sessions/:session_id/events",
        "POST /agent_runners/:id/sessions/:session_id/retry",
    }


def test_every_other_route_is_documented(app: Flask) -> None:
    text = PAGE.replace("/api/v1", "").replace("`GET/POST /sites`", "`GET /sites` `POST /sites`")
    text = text.replace("`GET/PATCH/DELETE /sites/:id`", "`GET /sites/:id` `PATCH /sites/:id` `DELETE /sites/:id`")
    text = text.replace("`GET .../events`", "`GET /agent_runners/:id/sessions/:session_id/events`")
    text = text.replace("`GET .../diff/", "`GET /agent_runners/:id/sessions/:session_id/diff/")
    text = text.replace("`POST .../sessions/:session_id/", "`POST /agent_runners/:id/sessions/:session_id/")
    missing = [route for route in routes(app) if route not in REFERENCE and f"`{route}`" not in text]
    assert missing == []


def test_the_states_are_those_of_the_reference() -> None:
    assert list(RunnerState) == ["NEW", "RUNNING", "ERROR", "DONE", "ARCHIVED"]
    assert list(SessionState) == ["NEW", "RUNNING", "ERROR", "DONE", "CANCELLED"]


def test_every_error_code_is_documented() -> None:
    # These answer in words, to people.
    others = {"cli", "client", "console"}
    rooms = [path for path in (ROOT / "app").rglob("*.py") if others.isdisjoint(path.relative_to(ROOT).parts)]
    source = "\n".join(path.read_text() for path in rooms)
    codes = set(re.findall(r'error_code(?:: str)? ?= ?(?:\d+, )?"(\w+)"', source))
    codes |= set(re.findall(r'^    \d{3}: "(\w+)",$', source, re.MULTILINE))
    assert len(codes) > 50 and sorted(code for code in codes if f"`{code}`" not in PAGE) == []
