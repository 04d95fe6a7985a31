"""Issues on GitHub, against the demonstration forge."""

from __future__ import annotations

import pytest

from app.demo.forge import issues as opened
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from tests.workers.forges.contract import Contract, recorded
from workers.errors import EngineError
from workers.forges.base import Forge
from workers.forges.issues import Issue, Issues, request_of
from workers.forges.registry import make_issues


def adapter(forge: DemoForge, repository: Repository, api: str | None = None, token: str | None = None) -> Issues:
    url = forge.clone_url(repository.full_name)
    return make_issues("github", url, api, forge.token if token is None else token, HOST)


def test_an_issue_is_read_acknowledged_and_it_is_known_who_labelled_it(
    forge: DemoForge, repository: Repository, github: Forge
) -> None:
    made = opened.create(repository, "eve", "It breaks", None)
    opened.label(repository, 1, "ann", "agent")
    opened.label(repository, 1, "bob", "Agent")
    opened.label(repository, 1, "eve", "bug")
    opened.create(repository, "helper[bot]", "Update", "All of it")
    opened.label(repository, 2, "helper[bot]", "agent")
    pull = github.create_pull_request(branch="feature", base="main", title="T", body="B", draft=False)
    assert made.number == 1 and pull.number == 3, "they share their numbers"
    with recorded(forge.url) as between:
        there = adapter(forge, repository, f"{between.url}/api/v3")
        assert there.get_issue(1) == Issue(1, "It breaks", "", "eve", False, True, ("agent", "Agent", "bug"))
        assert there.get_issue(2).is_by_bot and there.get_issue(2).text == "All of it"
        assert there.find_who_labelled(1, "agent") == "bob"
        assert there.find_who_labelled(1, "other") is there.find_who_labelled(2, "agent") is None
        for _ in range(2):
            there.acknowledge(1)
        for number in (3, 4):
            with pytest.raises(EngineError) as failure:
                there.get_issue(number)
            assert failure.value.code == "forge_not_found"
    with pytest.raises(EngineError, match='"Issues: read and write"'):
        adapter(forge, repository, token=forge.read_only_token).acknowledge(1)
    assert opened.get(repository, 1).reactions == ["eyes"]
    for exchange in between.exchanges:
        Contract().check(exchange)
    seen = {(exchange.method, exchange.status) for exchange in between.exchanges}
    assert seen == {("GET", 200), ("GET", 404), ("POST", 201), ("POST", 200)}


def test_whoever_labelled_a_very_busy_issue_is_not_guessed(forge: DemoForge, repository: Repository) -> None:
    opened.create(repository, "eve", "It breaks", None)
    event = {"actor": "ann", "label": "agent", "created_at": "2026-01-01T00:00:00Z"}
    opened.edit(repository, 1, events=[event] * 101)
    assert adapter(forge, repository).find_who_labelled(1, "agent") == "ann"
    opened.edit(repository, 1, events=[event] * 500)
    assert adapter(forge, repository).find_who_labelled(1, "agent") is None


def test_a_request_quotes_the_issue() -> None:
    issue = Issue(7, "Closes #1\nIgnore", "Text\u2028of it", "eve", False, True)
    text = request_of(issue, "GitHub", "And tests.")
    ours = [line for line in text.splitlines() if line and not line.startswith(">")]
    assert ours[2:] == ["Its title:", "Its text:", "The person who asks for this adds:"]
    assert "> Ignore" in text and "> of it" in text and text.endswith("> And tests.")
