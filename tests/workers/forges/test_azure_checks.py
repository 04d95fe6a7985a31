"""Checks on Azure DevOps, on a repository of the demonstration forge."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.demo.forge import checks as reported
from app.demo.forge.azure_checks import OF_PULL
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from tests.workers.forges.test_forges import scripted
from workers.forges.base import Forge
from workers.forges.checks import Check, Checks, Failure, Outcome, failures_of
from workers.forges.registry import make_checks

__all__ = ["scripted"]


@pytest.fixture
def checks(forge: DemoForge, repository: Repository, github: Forge) -> Checks:
    github.create_pull_request(branch="feature", base="main", title="T", body="B", draft=False)
    return make_checks("azure_devops", forge.repo_url("azure_devops", repository.full_name), None, forge.token, HOST)


def test_builds_and_statuses_of_a_commit_or_a_branch(forge: DemoForge, repository: Repository, checks: Checks) -> None:
    sha = repository.branches()["feature"]
    reported.report(repository, sha, "tests", "success")
    build = reported.report(repository, sha, "tests", "failure", log="one\ntwo")
    for name, state in {"slow": "", "lint": "success", "stopped": "cancelled", "warnings": "neutral"}.items():
        reported.report(repository, sha, name, state)
    place = "https://ci.example.com/2"
    reported.report(repository, sha, "jenkins/ci", "error", is_status=True, summary="Broken", url=place)
    page = f"{forge.url}/{repository.full_name}/_build/results?buildId={build.id}"
    reported.report(repository, sha, "builds/tests", "failure", is_status=True, url=page)
    reported.report(repository, sha, "old scan", "failure", is_status=True, summary=f"{OF_PULL}1")
    reported.report(repository, sha, "scan", "failure", is_status=True, summary=f"{OF_PULL}2")
    reported.report(repository, sha, "scan", "success", is_status=True, summary=f"{OF_PULL}2")
    reported.report(repository, sha, "all", "", is_status=True, summary=OF_PULL)
    found = checks.find("feature")
    assert found == checks.find(sha) and checks.find("main") == checks.find("featur") == []
    assert {each.name: each.outcome.value for each in found} == {
        "tests": "failed",
        "slow": "running",
        "lint": "passed",
        "stopped": "passed",
        "warnings": "passed",
        "jenkins/ci": "failed",
        "scan": "passed",
        "all": "running",
    }
    by_name = {each.name: each for each in found}
    assert by_name["tests"] == Check("tests", Outcome.FAILED, "", page, str(build.id))
    assert by_name["jenkins/ci"] == Check("jenkins/ci", Outcome.FAILED, "Broken", place)
    failed = [by_name["tests"], by_name["jenkins/ci"]]
    assert failures_of(checks, failed) == [Failure(failed[0], "one\ntwo"), Failure(failed[1])]
    assert checks.read_log("1") == "", "there is no such build"


def test_builds_of_an_older_commit_do_not_count(repository: Repository, checks: Checks) -> None:
    before = repository.branches()["feature"]
    reported.report(repository, before, "tests", "failure")
    newer = repository.commit("feature", {"b.txt": "b\n"}, "More")
    assert checks.find("feature") == checks.find(newer) == []


def test_builds_of_the_base_are_those_of_its_branch(repository: Repository, checks: Checks) -> None:
    build = reported.report(repository, repository.branches()["main"], "tests", "failure")
    [found] = checks.find("main")
    assert (found.name, found.outcome, found.log_id) == ("tests", Outcome.FAILED, str(build.id))
    assert checks.read_log(str(build.id)) == "All of the job", "its task has no log"


def test_builds_of_a_fork_with_the_same_commit_do_not_count(scripted: Callable[..., str]) -> None:
    sha, repository = "a" * 40, "/acme/app/_apis/git/repositories/app"
    pulls = [
        {"pullRequestId": number, "sourceRefName": f"refs/heads/{name}", "lastMergeSourceCommit": {"commitId": sha}}
        for number, name in ((8, "theirs"), (7, "ours"))
    ]
    answers = {
        f"{repository}/commits/{sha}/statuses": [],
        f"{repository}/pullrequests": [{**pulls[0], "forkSource": {"name": "refs/heads/theirs"}}, pulls[1]],
        **{
            f"{repository}/pullrequests/{number}/{of_it}": []
            for number in (7, 8)
            for of_it in ("iterations", "statuses")
        },
    }
    for ref, result in (("heads%2Ftheirs", "succeeded"), ("pull%2F7%2Fmerge", "failed"), ("heads%2Fours", "failed")):
        build = {
            "id": 1,
            "status": "completed",
            "result": result,
            "definition": {"name": "tests"},
            "sourceVersion": sha,
        }
        build["_links"] = {"web": {"href": "https://azure.example/1"}}
        answers[f"/acme/app/_apis/build/builds?branchName=refs%2F{ref}"] = [build]
    answers["/acme/app/_apis/build/builds"] = []
    url = scripted({path: (200, "", {"value": found}) for path, found in answers.items()})
    [found] = make_checks("azure_devops", f"{url}/acme/_git/app", None, "t", HOST).find(sha)
    assert found.outcome == Outcome.FAILED
