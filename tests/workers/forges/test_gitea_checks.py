"""Checks on Forgejo and Gitea, on a repository of the demonstration forge."""

from __future__ import annotations

from app.demo.forge import checks as reported
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from workers.forges.checks import Check, Checks, Failure, Outcome, failures_of
from workers.forges.registry import make_checks


def adapter(forge: DemoForge, repository: Repository) -> Checks:
    return make_checks("gitea", forge.clone_url(repository.full_name), None, forge.token, HOST)


def test_the_latest_statuses_of_a_commit_or_a_branch(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    job = reported.report(repository, sha, "tests / unit (push)", "failure")
    place = "https://ci.example.com/2"
    for state in ("pending", "error"):
        reported.report(repository, sha, "ci", state, is_status=True, summary="Broken", url=place)
    for state in ("success", "warning", "skipped", "failure", "pending"):
        reported.report(repository, sha, state, state, is_status=True)
    checks = adapter(forge, repository)
    found = checks.find("feature")
    assert found == checks.find(sha) and checks.find("main") == []
    page = f"{forge.clone_url(repository.full_name).removesuffix('.git')}/actions/runs/1/jobs/{job.id}"
    assert found[:2] == [
        Check("tests / unit (push)", Outcome.FAILED, "", page),
        Check("ci", Outcome.FAILED, "Broken", place),
    ]
    assert [each.outcome.value for each in found[2:]] == ["passed", "passed", "passed", "failed", "running"]
    assert failures_of(checks, found[:1]) == [Failure(found[0])] and checks.read_log("1") == ""


def test_many_checks_are_read_to_the_end(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    for number in range(101):
        reported.report(repository, sha, f"c{number}", "success")
    assert len(adapter(forge, repository).find(sha)) == 101
