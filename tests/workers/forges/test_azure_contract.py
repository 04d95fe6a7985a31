"""Requests of the adapters for Azure DevOps and answers of the demonstration forge match Microsoft's models of its API."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.demo.forge import checks as reported
from app.demo.forge import discussions
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from tests.workers.forges.contract import Exchange, recorded
from workers.errors import EngineError
from workers.forges.base import CommitStatus
from workers.forges.registry import make_checks, make_discussions, make_forge

MODELS = json.loads(gzip.decompress(Path(__file__).with_name("azure-models.json.gz").read_bytes()))
_REPOSITORY = "/[^/]+/_apis/git/repositories/[^/]+"
_PULL = f"{_REPOSITORY}/pullrequests/1"
_SEARCH = {"searchCriteria.sourceRefName", "searchCriteria.status", "$top", "$skip"}
_BUILDS = {"branchName", "maxBuildsPerDefinition", "queryOrder", "$top"}
_IDENTITIES = {"searchFilter", "filterValue", "queryMembership"}
# https://learn.microsoft.com/rest/api/azure/devops/: the parameters of the query, the area, what is sent and received.
OPERATIONS: dict[str, tuple[set[str], str, str | None, str | None]] = {
    f"GET {_REPOSITORY}": (set(), "git", None, "GitRepository"),
    f"GET {_REPOSITORY}/refs": ({"filter"}, "git", None, "[GitRef]"),
    f"GET {_REPOSITORY}/pullrequests": (_SEARCH, "git", None, "[GitPullRequest]"),
    f"POST {_REPOSITORY}/pullrequests": (set(), "git", "GitPullRequest", "GitPullRequest"),
    f"GET {_PULL}": (set(), "git", None, "GitPullRequest"),
    f"PATCH {_PULL}": (set(), "git", "GitPullRequest", "GitPullRequest"),
    f"POST {_PULL}/labels": (set(), "git", "WebApiCreateTagRequestData", "WebApiTagDefinition"),
    f"PUT {_PULL}/reviewers/[^/]+": (set(), "git", "IdentityRefWithVote", "IdentityRefWithVote"),
    f"GET {_PULL}/iterations": (set(), "git", None, "[GitPullRequestIteration]"),
    f"GET {_PULL}/statuses": (set(), "git", None, "[GitPullRequestStatus]"),
    f"GET {_PULL}/threads": (set(), "git", None, "[GitPullRequestCommentThread]"),
    f"POST {_PULL}/threads": (set(), "git", "GitPullRequestCommentThread", "GitPullRequestCommentThread"),
    rf"GET {_PULL}/threads/\d+": (set(), "git", None, "GitPullRequestCommentThread"),
    rf"PATCH {_PULL}/threads/\d+/comments/\d+": (set(), "git", "Comment", "Comment"),
    f"POST {_REPOSITORY}/commits/[0-9a-f]{{40}}/statuses": (set(), "git", "GitStatus", "GitStatus"),
    f"GET {_REPOSITORY}/commits/[0-9a-f]{{40}}/statuses": ({"latestOnly", "top"}, "git", None, "[GitStatus]"),
    "GET /[^/]+/_apis/wit/tags": (set(), "work_item_tracking", None, "[WorkItemTagDefinition]"),
    "GET /_apis/identities": (_IDENTITIES, "identity", None, "[Identity]"),
    "GET /[^/]+/_apis/build/builds": (_BUILDS, "build", None, "[Build]"),
    r"GET /[^/]+/_apis/build/builds/\d+/timeline": (set(), "build", None, "Timeline"),
    r"GET /[^/]+/_apis/build/builds/\d+/logs/\d+": (set(), "build", None, None),
}
_PLAIN = {"str": str, "iso-8601": str, "int": int, "long": int, "bool": bool, "float": (int, float)}


def check(exchange: Exchange) -> str:
    """Raise AssertionError unless the API may have it; the operation."""
    request = f"{exchange.method} {exchange.path.removeprefix('/acme')}"
    operation = next((each for each in OPERATIONS if re.fullmatch(each, request)), None)
    assert operation, f"Azure DevOps has no {request}"
    query, area, sent, received = OPERATIONS[operation]
    assert exchange.query.pop("api-version") == "7.1" and exchange.query.keys() <= query, request
    assert (exchange.sent is None) == (sent is None), request
    if exchange.status < 400:
        if sent:
            match(exchange.sent, sent, MODELS[area], request)
        listed = bool(received and received.startswith("["))
        assert not listed or exchange.received["count"] == len(exchange.received["value"])
        if received:
            match(exchange.received["value"] if listed else exchange.received, received, MODELS[area], request)
    return operation


def match(value: Any, kind: str, models: dict[str, dict[str, str]], place: str) -> None:
    """Raise AssertionError unless the value may be of the kind. The models do not say what may be null or missing."""
    if value is None:
        return
    if kind.startswith("["):
        for each in value:
            match(each, kind[1:-1], models, place)
    elif kind.startswith("{"):
        for each in value.values():
            match(each, kind[1:-1], models, place)
    elif kind in _PLAIN:
        assert isinstance(value, _PLAIN[kind]), f"{place} is no {kind}"
    elif models.get(kind):
        for name, each in value.items():
            # These are free in their form.
            if name not in ("_links", "properties"):
                assert name in models[kind], f"{kind} has no {name} in {place}"
                match(each, models[kind][name], models, f"{place} {name}")


def test_the_adapters_and_the_forge_match_microsofts_models(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    with recorded(forge.url) as between:
        url = forge.repo_url("azure_devops", repository.full_name).replace(forge.url, between.url)
        place = ("azure_devops", url, None, forge.token, HOST)
        made, checks, talk = make_forge(*place), make_checks(*place), make_discussions(*place)
        assert made.find_pull_request("feature") is None
        for _ in range(2):
            with contextlib.suppress(EngineError):
                made.create_pull_request(branch="feature", base="main", title="T", body="B", draft=True)
        made.update_pull_request(1, title="New", body="", draft=False)
        made.add_labels(1, ["bug", "nothing"])
        made.request_reviews(1, ["ada", "nobody", "acme/backend"])
        made.set_status(sha, CommitStatus("https://runners.example.org", "Made by codex"))
        build = reported.report(repository, sha, "tests", "failure", log="one")
        assert checks.find("feature") and checks.read_log(str(build.id)) == "one"
        for text in ("Working.", "Done."):
            talk.write_comment(1, "a", text)
        entry = discussions.review(repository, 1, "bob", "", {"body": "Why?", "path": "feature.py", "line": 1})
        talk.get_comment(1, (entry.id + 1) << 16 | 1)
    assert {check(exchange) for exchange in between.exchanges} == set(OPERATIONS)
    assert {exchange.status for exchange in between.exchanges} == {200, 201, 409}


def test_the_models_report_what_the_api_would_not_take() -> None:
    path = "/acme/p/_apis/git/repositories/r/pullrequests"
    version = {"api-version": "7.1"}
    check(Exchange("POST", path, {**version}, {"title": "T"}, 201, {"pullRequestId": 1}))
    for wrong in (
        Exchange("POST", path, {}, {"title": "T"}, 201, {}),
        Exchange("POST", path, {**version}, {"title": 7}, 201, {}),
        Exchange("POST", path, {**version}, {"source": "refs/heads/a"}, 201, {}),
        Exchange("POST", path, {**version}, {"title": "T"}, 201, {"number": 1}),
        Exchange("GET", path, {**version, "colour": "red"}, None, 200, {"count": 0, "value": []}),
        Exchange("DELETE", path, {**version}, None, 200, {}),
    ):
        with pytest.raises((AssertionError, KeyError)):
            check(wrong)
