"""Checks on GitLab, on a project of the demonstration forge."""

from __future__ import annotations

from app.demo.forge import checks as reported
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from workers.forges.checks import Check, Checks, Failure, Outcome, failures_of, relevant
from workers.forges.registry import make_checks


def adapter(forge: DemoForge, repository: Repository) -> Checks:
    return make_checks("gitlab", forge.clone_url(repository.full_name), None, forge.token, HOST)


def test_jobs_and_statuses_of_a_commit_or_a_branch(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    reported.report(repository, sha, "tests", "success")
    job = reported.report(repository, sha, "tests", "failure", log="one\ntwo")
    for state in ("failure", "success"):
        reported.report(repository, sha, "repeated", state)
    states = {
        "slow": "",
        "queued": "waiting_for_resource",
        "skipped": "skipped",
        "stopped": "cancelled",
        "approval": "action_required",
        "optional approval": "action_required",
        "optional lint": "failure",
    }
    for name, state in states.items():
        reported.report(repository, sha, name, state)
    place = "https://ci.example.com/2"
    reported.report(repository, sha, "ci", "error", is_status=True, summary="Broken", url=place)
    checks = adapter(forge, repository)
    found = checks.find("feature")
    assert found == checks.find(sha) and checks.find("main") == []
    assert {each.name: each.outcome.value for each in found} == {
        "tests": "failed",
        "repeated": "passed",
        "slow": "running",
        "queued": "running",
        "skipped": "passed",
        "stopped": "passed",
        "approval": "stalled",
        "optional approval": "passed",
        "optional lint": "passed",
        "ci": "failed",
    }
    page = f"{forge.clone_url(repository.full_name).removesuffix('.git')}/-/jobs/{job.id}"
    assert found[0] == Check("tests", Outcome.FAILED, "", page, str(job.id))
    assert found[-1] == Check("ci", Outcome.FAILED, "Broken", place)
    assert failures_of(checks, [found[0], found[-1]]) == [Failure(found[0], "one\ntwo"), Failure(found[-1])]
    assert checks.read_log("1") == "", "there is no such job"


def test_many_checks_are_read_to_the_end(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    for number in range(101):
        reported.report(repository, sha, f"c{number}", "success")
    assert len(adapter(forge, repository).find(sha)) == 101


def test_the_marks_of_the_parts_of_a_log_are_left_out() -> None:
    log = (
        "\x1b[0Ksection_start:1560896352:step_script\r\x1b[0K\x1b[0K\x1b[36;1mRunning\x1b[0;m\n1 failed\n"
        "\x1b[0Ksection_end:1560896353:step_script\r\x1b[0K\x1b[31;1mERROR: Job failed: exit code 1\x1b[0;m\n"
    )
    assert relevant(log) == "Running\n1 failed\nERROR: Job failed: exit code 1"
