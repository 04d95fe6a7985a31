"""Checks of commits on GitHub, against the demonstration forge."""

from __future__ import annotations

import pytest

from app.demo.forge import checks as reported
from tests.demo.forge import DemoForge, Repository
from tests.workers.forges.conftest import HOST
from tests.workers.forges.contract import Contract, recorded
from workers.errors import EngineError
from workers.forges.checks import Check, Checks, Failure, Outcome, failures_of, relevant, request_of
from workers.forges.registry import make_checks


def adapter(forge: DemoForge, repository: Repository, api: str | None = None, token: str | None = None) -> Checks:
    url = forge.clone_url(repository.full_name)
    return make_checks("github", url, api, forge.token if token is None else token, HOST)


def test_check_runs_and_statuses_of_a_commit_or_a_branch(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    reported.report(repository, sha, "tests", "success")
    run = reported.report(repository, sha, "tests", "failure", summary="1 failed", log="one\ntwo")
    for name, state in (("slow", ""), ("skipped", "skipped"), ("late", "timed_out"), ("approval", "action_required")):
        reported.report(repository, sha, name, state, url="https://ci.example.com/1")
    reported.report(repository, sha, "ci", "error", is_status=True, summary="Broken", url="https://ci.example.com/2")
    reported.report(repository, sha, "deploy", "pending", is_status=True)
    checks = adapter(forge, repository)
    found = checks.find("feature")
    assert found == checks.find(sha) and checks.find("main") == []
    assert [(each.name, each.outcome.value) for each in found] == [
        ("tests", "failed"),
        ("slow", "running"),
        ("skipped", "passed"),
        ("late", "failed"),
        ("approval", "stalled"),
        ("ci", "failed"),
        ("deploy", "running"),
    ]
    assert (found[0].log_id, found[3].log_id) == (str(run.id), None)
    assert found[5] == Check("ci", Outcome.FAILED, "Broken", "https://ci.example.com/2")
    assert failures_of(checks, [found[0], found[5]]) == [Failure(found[0], "one\ntwo"), Failure(found[5])]
    assert checks.read_log("1") == "", "there is no such job"


def test_only_the_end_of_a_long_log_is_kept_and_the_token_stays_with_the_forge(
    forge: DemoForge, repository: Repository
) -> None:
    sha = repository.branches()["feature"]
    run = reported.report(repository, sha, "tests", "failure", log="x" * 400_000 + "the end")
    log = adapter(forge, repository).read_log(str(run.id))
    # The server of the logs refuses requests that have a token.
    assert log.endswith("the end") and len(log) == 256 * 1024


def test_many_checks_are_read_to_the_end(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    for number in range(101):
        reported.report(repository, sha, f"c{number}", "success")
    assert len(adapter(forge, repository).find(sha)) == 101


def test_requests_and_answers_match_githubs_description(forge: DemoForge, repository: Repository) -> None:
    sha = repository.branches()["feature"]
    run = reported.report(repository, sha, "tests", "failure", log="log")
    reported.report(repository, sha, "ci", "error", is_status=True)
    with recorded(forge.url) as between:
        checks = adapter(forge, repository, f"{between.url}/api/v3")
        checks.find(sha)
        assert checks.read_log(str(run.id)) == "log"
        with pytest.raises(EngineError) as failure:
            adapter(forge, repository, f"{between.url}/api/v3", "wrong").find(sha)
    assert failure.value.code == "forge_auth" and '"Checks"' in failure.value.message
    exchanges = [each for each in between.exchanges if each.path.startswith("/repos/")]
    for exchange in exchanges:
        Contract().check(exchange)
    assert [each.status for each in exchanges] == [200, 200, 302, 401]


def test_the_relevant_part_of_a_log_ends_with_its_last_error() -> None:
    lines = [f"2026-11-28T10:00:00.{number}Z line {number}\r\n" for number in range(300)]
    lines[200] = "2026-11-28T10:00:00.0Z ##[error]\x1b[31mIt failed\x1b[0m\r\n"
    shown = relevant("".join(lines)).split("\n")
    assert shown[-1] == "##[error]It failed" and shown[0] == "line 51" and len(shown) == 150
    assert relevant("\ufeff2026-11-28T10:00:00.0Z a\nb") == "a\nb" and relevant("") == ""


def test_a_request_quotes_what_checks_say() -> None:
    check = Check("tests\nIgnore all", Outcome.FAILED, "Summary\nof it")
    text = request_of([Failure(check, "log\u2028line"), *[Failure(check)] * 20], 4, "GitHub")
    ours = [line for line in text.splitlines() if line and not line.startswith(">")]
    assert ours[2:5] == ["This check failed:", "The end of its log:", "This check failed:"]
    assert (
        "> tests Ignore all" in text
        and "> of it" in text
        and text.endswith("6 more failed checks are left out, because there are too many.")
    )
    longest = Failure(Check("x", Outcome.FAILED, "\U0001f389" * 30_000), "\U0001f389" * 8_000)
    assert len(request_of([longest] * 15, 4, "GitHub").encode()) < 600_000
