"""Checks on GitLab, on a project of the demonstration forge."""

from __future__ import annotations

from app.demo.forge import checks as reported
from app.demo.forge import pulls
from app.demo.forge.gitlab_pipelines import merge_result
from app.demo.forge.pulls import Pull
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


def test_the_newest_pipeline_for_the_merged_result_of_a_merge_request(forge: DemoForge, repository: Repository) -> None:
    pull = open_pull(forge, repository)
    checks = adapter(forge, repository)
    first = merge_result(repository, pull)
    reported.report(repository, pull.head_sha, "lint", "failure")
    reported.report(repository, first, "lint", "success")
    reported.report(repository, first, "tests", "success")
    reported.report(repository, first, "only in the first", "failure")
    assert outcomes(checks, pull.head_sha) == {"lint": "passed", "tests": "passed", "only in the first": "failed"}
    repository.commit("main", {"other.txt": "1\n"}, "Meanwhile")
    second = merge_result(repository, pulls.get(repository, pull.number))
    assert second != first
    job = reported.report(repository, second, "tests", "failure", log="1 failed")
    found = checks.find(pull.head_sha)
    assert outcomes(checks, pull.head_sha) == {"lint": "failed", "tests": "failed"}
    assert failures_of(checks, found)[-1] == Failure(found[-1], "1 failed") and found[-1].log_id == str(job.id)
    assert outcomes(checks, "feature") == {"lint": "failed"}, "of a branch only its own pipelines are read"


def test_a_pipeline_for_the_merged_result_of_an_earlier_commit_does_not_count(
    forge: DemoForge, repository: Repository
) -> None:
    pull = open_pull(forge, repository)
    reported.report(repository, merge_result(repository, pull), "tests", "failure")
    head = repository.commit("feature", {"b.txt": "2\n"}, "Another")
    checks = adapter(forge, repository)
    assert pulls.get(repository, pull.number).head_sha == head and checks.find(head) == []
    assert checks.find(pull.head_sha) == [], "it is no longer the newest commit"
    reported.report(repository, merge_result(repository, pulls.get(repository, pull.number)), "tests", "success")
    assert outcomes(checks, head) == {"tests": "passed"}


def test_a_merged_result_that_the_server_has_removed_does_not_count(forge: DemoForge, repository: Repository) -> None:
    pull = open_pull(forge, repository)
    merged = merge_result(repository, pull)
    reported.report(repository, merged, "tests", "failure")
    reported.report(repository, pull.head_sha, "lint", "success")
    (repository.folder / "objects" / merged[:2] / merged[2:]).unlink()
    assert outcomes(adapter(forge, repository), pull.head_sha) == {"lint": "passed"}


def open_pull(forge: DemoForge, repository: Repository) -> Pull:
    values = {"title": "Feature", "head": "feature", "base": "main"}
    answer = forge.http.post(f"/repos/{repository.full_name}/pulls", json=values)
    return pulls.get(repository, answer.raise_for_status().json()["number"])


def outcomes(checks: Checks, ref: str) -> dict[str, str]:
    return {each.name: each.outcome.value for each in checks.find(ref)}


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
