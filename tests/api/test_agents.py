"""Which agents a deployment can run, as its session workers have reported it."""

from __future__ import annotations

import pytest

from app import db
from app.models.states import Scope
from app.services import agents
from app.services.agents import Found
from tests.api.calling import ok, refused

pytestmark = pytest.mark.same_on_both_databases


def report(host: str, *found: Found) -> None:
    with db.transaction():
        agents.report(host, found)


def test_agents_are_unknown_until_a_worker_has_reported(api, ada):
    listed = ok(ada.holding(Scope.READ).get("/agents"))
    assert [(each["name"], each["takes_plain_language"]) for each in listed] == [
        ("shell", False),
        ("claude", True),
        ("codex", True),
    ]
    assert all((each["available"], each["hosts"], each["reported_at"]) == (None, 0, None) for each in listed)
    refused(api.with_token(None).get("/agents"), 401, "token_missing")


def test_one_host_that_can_run_an_agent_makes_it_available(api):
    claude, codex = Found("claude", None, "2.1", True), Found("codex", "Install it.", None, True)
    report("one", Found("shell", None, None, None), claude, codex)
    report("two", Found("claude", "Install it.", None, True), Found("codex", None, "0.163", False))
    shell, claude, codex = ok(api.get("/agents"))
    assert (shell["available"], shell["hosts"], shell["has_key"]) == (True, 1, None)
    assert (claude["available"], claude["version"], claude["missing"], claude["hosts"]) == (True, "2.1", None, 1)
    assert (codex["available"], codex["hosts"]) == (False, 0), "one host lacks the program, the other the key"
    assert claude["reported_at"]


def test_a_report_replaces_that_of_the_same_host(api):
    report("one", Found("claude", None, "2.1", True), Found("codex", None, None, True))
    report("one", Found("claude", "Install it.", None, False))
    _, claude, codex = ok(api.get("/agents"))
    assert (claude["available"], claude["missing"], claude["has_key"]) == (False, "Install it.", False)
    assert codex["available"] is None
