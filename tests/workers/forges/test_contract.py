"""Requests of the adapter and answers of the demonstration forge match GitHub's description of its API."""

from __future__ import annotations

import contextlib

import pytest

from tests import patiently
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from tests.workers.forges.contract import Contract, Exchange, recorded
from workers.errors import EngineError
from workers.forges.base import CommitStatus
from workers.forges.registry import make_forge


def test_the_adapter_and_the_forge_match_githubs_description(forge: DemoForge, repository: Repository) -> None:
    with recorded(forge.url) as between:
        api = f"{between.url}/api/v3"
        for token in ("wrong", forge.read_only_token, forge.token):
            github = make_forge("github", f"{forge.url}/{repository.full_name}", api, token, HOST)
            with contextlib.suppress(EngineError):
                github.find_pull_request("feature")
            for draft in (True, False):
                with contextlib.suppress(EngineError):
                    github.create_pull_request(branch="feature", base="main", title="T", body="B", draft=draft)
        github.get_pull_request(1)
        github.update_pull_request(1, title="New", body="", draft=True)
        for branch, base in (("nowhere", "main"), ("main", "main"), ("feature", "nowhere")):
            with pytest.raises(EngineError):
                github.create_pull_request(branch=branch, base=base, title="T", body="B", draft=False)
        with pytest.raises(EngineError):
            github.get_pull_request(99)
        github.add_labels(1, ["bug", "nothing"])
        github.request_reviews(1, ["ada", "nobody", "acme/backend"])
        github.assign(1, ["ada", "nobody"])
        github.set_status(
            repository.branches()["feature"], CommitStatus("https://runners.example.org", "Made by codex")
        )
    # GraphQL has a description of its own.
    exchanges = [exchange for exchange in between.exchanges if exchange.path != "/api/graphql"]
    for exchange in exchanges:
        Contract().check(exchange)
    seen = {(exchange.method, exchange.status) for exchange in exchanges}
    posts = {("POST", 200), ("POST", 201), ("POST", 403), ("POST", 422)}
    assert seen == {("GET", 200), ("GET", 401), ("GET", 404), ("PATCH", 200), *posts}


def test_the_rest_of_the_api_matches_it_too(forge: DemoForge, repository: Repository) -> None:
    repository.commit("conflict", {"README.md": "# Theirs\n"}, "Theirs", start=repository.branches()["main"])
    pulls = f"/repos/{repository.full_name}/pulls"
    with (
        recorded(forge.url) as between,
        patiently.Client(base_url=f"{between.url}/api/v3", headers=forge.http.headers) as http,
    ):
        http.get("/user")
        http.get("/user", headers={"Authorization": ""})
        http.get("/repos/acme/none")
        http.post(pulls, content=b"{")
        http.post(pulls, json={"head": "feature", "base": "main"})
        for head in ("feature", "conflict"):
            http.post(pulls, json={"title": head, "head": head, "base": "main", "draft": head == "draft"})
        http.post(pulls, json={"title": "x" * 257, "head": "feature", "base": "main"})
        http.get(pulls, params={"state": "all", "per_page": 1, "sort": "updated", "direction": "asc"})
        http.get(pulls, params={"state": "odd"})
        http.patch(f"{pulls}/1", json={"title": "New", "body": ""})
        http.patch(f"{pulls}/1", json={"state": "odd"})
        http.get(f"{pulls}/1/merge")
        http.put(f"{pulls}/1/merge", json={"sha": "0" * 40})
        http.put(f"{pulls}/1/merge", json={"merge_method": "squash"})
        repository.commit("main", {"README.md": "# Ours\n"}, "Ours")
        http.get(f"{pulls}/2")
        http.put(f"{pulls}/2/merge", json={})
        http.put(f"{pulls}/1/merge", json={"commit_title": "A merge"})
        http.get(f"{pulls}/1/merge")
        http.get(f"{pulls}/1")
        http.patch(f"{pulls}/1", json={"state": "open"})
    for exchange in between.exchanges:
        Contract().check(exchange)
    statuses = {exchange.status for exchange in between.exchanges}
    assert statuses == {200, 201, 204, 400, 401, 404, 405, 409, 422}


def test_the_contract_reports_what_github_would_not_do(forge: DemoForge, repository: Repository) -> None:
    path = f"/repos/{repository.full_name}"
    answer = forge.http.get(path).json()
    Contract().check(Exchange("GET", path, {}, None, 200, answer))
    for wrong in (
        Exchange("GET", path, {}, None, 200, {**answer, "private": "no"}),
        Exchange("GET", path, {}, None, 200, {name: answer[name] for name in answer if name != "owner"}),
        Exchange("GET", path, {"colour": "red"}, None, 200, answer),
        Exchange("GET", path, {}, None, 418, answer),
        Exchange("GET", f"{path}/teapots", {}, None, 200, answer),
        Exchange("POST", f"{path}/pulls", {}, {"head": "a", "base": "b", "colour": "red"}, 422, {}),
    ):
        with pytest.raises(AssertionError):
            Contract().check(wrong)
