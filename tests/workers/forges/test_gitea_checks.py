"""Checks on Forgejo and Gitea, on a repository of the demonstration forge."""

from __future__ import annotations

import pytest

from app.demo.forge import checks as reported
from app.demo.forge.gitea_actions import Server, serve_as
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from workers.forges.checks import Check, Checks, Failure, Outcome, failures_of
from workers.forges.registry import make_checks


def adapter(forge: DemoForge, repository: Repository) -> Checks:
    return make_checks("gitea", forge.clone_url(repository.full_name), None, forge.token, HOST)


def test_the_latest_statuses_of_a_commit_or_a_branch(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    reported.report(repository, sha, "tests / unit (push)", "failure")
    place = "https://ci.example.com/2"
    for state in ("pending", "error"):
        reported.report(repository, sha, "ci", state, is_status=True, summary="Broken", url=place)
    for state in ("success", "warning", "skipped", "failure", "pending"):
        reported.report(repository, sha, state, state, is_status=True)
    checks = adapter(forge, repository)
    found = checks.find("feature")
    assert found == checks.find(sha) and checks.find("main") == []
    assert found[:2] == [
        Check("tests / unit (push)", Outcome.FAILED, "", page_of(forge, repository, 1, 0), found[0].log_id),
        Check("ci", Outcome.FAILED, "Broken", place),
    ]
    assert [each.outcome.value for each in found[2:]] == ["passed", "passed", "passed", "failed", "running"]
    assert found[0].log_id and not any(each.log_id for each in found[1:])


@pytest.mark.parametrize("server", ["gitea", "forgejo"])
def test_the_logs_of_failed_jobs(forge: DemoForge, repository: Repository, server: Server) -> None:
    serve_as(repository, server)
    main, sha = repository.branches()["main"], repository.branches()["feature"]
    reported.report(repository, main, "tests / unit (push)", "failure", log="of another commit")
    reported.report(repository, sha, "tests / lint (push)", "success", log="passed")
    reported.report(repository, sha, "tests / unit (push)", "failure", log="replaced by the next")
    reported.report(repository, sha, "tests / unit (push)", "failure", log="2026-01-01T00:00:00.1Z one\n1 failed")
    reported.report(repository, sha, "tests / expired (push)", "failure")
    reported.report(
        repository, sha, "ci", "failure", is_status=True, url="https://ci.example.com/actions/runs/2/jobs/1"
    )
    checks = adapter(forge, repository)
    failed = [each for each in checks.find(sha) if each.outcome == Outcome.FAILED]
    assert [each.url for each in failed[:2]] == [page_of(forge, repository, 2, number) for number in (1, 2)]
    assert [(each.check.name, each.log) for each in failures_of(checks, failed)] == [
        ("tests / unit (push)", "one\n1 failed"),
        ("tests / expired (push)", ""),
        ("ci", ""),
    ]


def test_servers_without_logs_in_their_api(forge: DemoForge, repository: Repository) -> None:
    serve_as(repository, "old")
    sha = repository.branches()["feature"]
    reported.report(repository, sha, "tests / unit (push)", "failure", log="1 failed")
    checks = adapter(forge, repository)
    found = checks.find(sha)
    assert failures_of(checks, found) == [Failure(found[0])]


def test_a_status_that_names_no_job_of_the_commit_has_no_log(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    reported.report(repository, sha, "tests / unit (push)", "failure", log="1 failed")
    for number, place in enumerate(
        ("/demo/other/actions/runs/1/jobs/0", f"/{repository.full_name}/actions/runs/9/jobs/0")
    ):
        reported.report(repository, sha, f"c{number}", "failure", is_status=True, url=place)
    checks = adapter(forge, repository)
    assert [each.log for each in failures_of(checks, checks.find(sha))] == ["1 failed", "", ""]


def page_of(forge: DemoForge, repository: Repository, run: int, job: int) -> str:
    return f"{forge.clone_url(repository.full_name).removesuffix('.git')}/actions/runs/{run}/jobs/{job}"


def test_many_checks_are_read_to_the_end(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    for number in range(101):
        reported.report(repository, sha, f"c{number}", "success")
    assert len(adapter(forge, repository).find(sha)) == 101
