"""Checks on Bitbucket, on a repository of the demonstration forge."""

from __future__ import annotations

from app.demo.forge import checks as reported
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from workers.forges.checks import Check, Checks, Failure, Outcome, failures_of
from workers.forges.registry import make_checks


def adapter(forge: DemoForge, repository: Repository) -> Checks:
    return make_checks("bitbucket", forge.clone_url(repository.full_name), None, forge.token, HOST)


def test_pipelines_and_statuses_of_a_commit_or_a_branch(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    reported.report(repository, sha, "tests", "success")
    job = reported.report(repository, sha, "tests", "failure", log="one\ntwo")
    reported.report(repository, sha, "slow", "")
    reported.report(repository, sha, "stopped", "cancelled")
    elsewhere = "https://ci.example.com/pipelines/results/1"
    for state in ("pending", "error"):
        reported.report(repository, sha, "ci", state, is_status=True, summary="Broken", url=elsewhere)
    checks = adapter(forge, repository)
    found = checks.find("feature")
    assert found == checks.find(sha) and checks.find("main") == []
    page = f"{forge.clone_url(repository.full_name).removesuffix('.git')}/pipelines/results/{job.id}"
    assert found[0] == Check("tests", Outcome.FAILED, "", page, str(job.id))
    assert [(each.name, each.outcome.value) for each in found[1:3]] == [("slow", "running"), ("stopped", "passed")]
    assert found[3] == Check("ci", Outcome.FAILED, "Broken", elsewhere)
    assert failures_of(checks, [found[0], found[3]]) == [Failure(found[0], "one\ntwo"), Failure(found[3])]


def test_a_log_that_cannot_be_read_is_empty(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    without_log = reported.report(repository, sha, "tests", "failure")
    passed = reported.report(repository, sha, "lint", "success", log="fine")
    checks = adapter(forge, repository)
    assert [checks.read_log(str(number)) for number in (without_log.id, passed.id, 1)] == ["", "", ""]


def test_many_checks_are_read_to_the_end(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    for number in range(51):
        reported.report(repository, sha, f"c{number}", "success")
    assert len(adapter(forge, repository).find(sha)) == 51
