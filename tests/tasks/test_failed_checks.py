"""Checks of a pull request that fail become a follow-up, as far as the site lets them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from app import db
from app.demo.forge import checks, pulls
from app.demo.forge.gitlab_pipelines import merge_result
from app.models import AgentRunner, ForgeDelivery
from app.models.states import Forge, ForgeDeliveryState, OnFailedChecks
from app.services.forge_webhooks import deliveries, webhooks
from app.services.forge_webhooks.failed_checks import LONGEST_WAIT_SECONDS, is_test
from app.services.forge_webhooks.webhooks import ForgeWebhookFields
from tasks.publications import check_pull_requests
from tests.asking import new_session
from tests.demo.forge import DemoForge
from tests.tasks.pull_request import Opened
from tests.tasks.talk import Talk, record_of, sweep
from workers.forges.base import STATUS_NAME

LOG = "2026-11-28T10:00:00.1Z ##[error]test_two failed: \x1b[31mexpected 2\x1b[0m\n2026-11-28T10:00:01.1Z Cleaning up\n"


@pytest.fixture
def make_talk(ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge) -> Callable[..., Talk]:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")

    def make(kind: Forge = Forge.GITHUB, **fields: Any) -> Talk:
        work = Opened(forge, ask("true"), kind)
        return Talk(work, kind, **{"on_failed_checks": OnFailedChecks.AUTOMATIC, **fields})

    return make


@pytest.fixture
def talk(make_talk: Callable[..., Talk]) -> Talk:
    return make_talk()


def report(talk: Talk, state: str, name: str = "tests", **more: Any) -> None:
    checks.report(talk.repository, talk.work.head_sha, name, state, **more)


def ignored(talk: Talk) -> str | None:
    """Deliver that checks have ended, which is ignored; the reason."""
    delivery_id = talk.end_checks()
    assert delivery_id is not None and talk.read(delivery_id) == ForgeDeliveryState.IGNORED
    return record_of(delivery_id).error


def test_failed_checks_become_one_follow_up_with_their_log_until_there_were_enough_tries(
    make_talk: Callable[..., Talk],
) -> None:
    talk = make_talk(max_fixes=1)
    report(talk, "failure", log=LOG, summary="1 failed")
    report(talk, "success", "lint")
    report(talk, "failure", "docs", is_status=True, summary="Broken links")
    first = [talk.end_checks(each) for each in ("d1", "d1", "d2")]
    assert first[0] is not None and set(first) == {first[0]}, "they are read together"
    assert talk.read(first[0]) == ForgeDeliveryState.STARTED
    later = [talk.end_checks(each) for each in ("d2b", "d1")]
    assert talk.read(later[0]) == ForgeDeliveryState.IGNORED and later[1] == first[0]
    prompt = talk.session(first[0]).prompt
    for text in (
        "This check failed:\n\n> tests\n",
        "> 1 failed",
        "> ##[error]test_two failed: expected 2",
        "> Broken links",
    ):
        assert text in prompt
    assert "lint" not in prompt and "Cleaning up" not in prompt and "Do not delete, skip or weaken tests" in prompt
    before = talk.work.head_sha
    talk.work_on(first[0])
    assert talk.finish(first[0]) == talk.answers()[0] and "Done in " in talk.answers()[0]
    assert talk.work.head_sha != before and len(talk.work.forge.pulls(talk.repository.full_name)) == 1
    # Everything once more: the checks that failed are those of an older commit.
    for each in ("d1", "d2", "d3"):
        again = talk.end_checks(each)
        assert again and talk.read(again) in (ForgeDeliveryState.DONE, ForgeDeliveryState.IGNORED)
    sweep()
    assert len(talk.answers()) == 1
    report(talk, "timed_out")
    last = talk.end_checks()
    talk.read(last)
    assert "I have tried to fix checks once, so I leave this to you." in talk.finish(last)
    assert ignored(talk) == "The checks of this commit were followed before."
    assert last and record_of(last).session_id is None and len(talk.answers()) == 2


def test_a_suggestion_is_one_comment_and_whoever_takes_it_gives_the_agent_the_failures(
    make_talk: Callable[..., Talk],
) -> None:
    talk = make_talk(on_failed_checks=OnFailedChecks.SUGGEST)
    report(talk, "failure", log=LOG)
    suggested = talk.end_checks()
    talk.read(suggested)
    assert "These checks failed: tests." in talk.finish(suggested)
    assert ignored(talk) == "The checks of this commit were followed before."
    assert len(talk.answers()) == 1 and "`@agent-runners fix the checks`" in talk.answers()[0]
    asked = talk.comment("@agent-runners fix the checks")
    assert talk.read(asked) == ForgeDeliveryState.STARTED
    assert "> ##[error]test_two failed" in talk.session(asked).prompt


def test_a_comment_is_followed_within_the_lease_though_no_log_can_be_read(
    make_talk: Callable[..., Talk], configure: Callable[..., None]
) -> None:
    talk = make_talk(on_failed_checks=OnFailedChecks.SUGGEST)
    numbers = [
        checks.report(talk.repository, talk.work.head_sha, name, "failure", log=LOG).id for name in ("one", "two")
    ]
    logs = [f"before GET /api/v3/repos/{talk.repository.full_name}/actions/jobs/{number}/logs" for number in numbers]
    asked = talk.comment("@agent-runners fix the checks")
    # One log may take five seconds, and two thirds of the lease are less than that.
    configure(LEASE_SECONDS="7")
    talk.work.forge.set_faults(holds=logs)
    try:
        assert talk.read(asked) == ForgeDeliveryState.STARTED
        # A slow machine may have no time for the first one either.
        assert talk.work.forge.held() in ([], logs[:1]), "there was no time left for the other one"
    finally:
        talk.work.forge.set_faults(holds=[])
    assert "> one" in talk.session(asked).prompt and "test_two failed" not in talk.session(asked).prompt


def test_nothing_is_done_for_what_is_not_ours_to_fix(talk: Talk) -> None:
    report(talk, "failure")
    base = talk.repository.branches()["main"]
    checks.report(talk.repository, base, "tests", "failure")
    assert ignored(talk) == "These checks fail on the base branch as well: tests."
    branch = talk.work.runner.pr_branch
    assert branch is not None
    checks.report(talk.repository, base, "tests", "success")
    talk.repository.commit(branch, {"b.txt": "theirs\n"}, "Theirs")
    report(talk, "failure")
    assert ignored(talk) == "The newest commit is not one that the runner made."
    talk.work.edit(state="closed")
    assert ignored(talk) == "The pull request is closed."
    with db.transaction():
        webhooks.update(
            talk.work.ada, talk.work.runner.site_id, ForgeWebhookFields(on_failed_checks=OnFailedChecks.OFF)
        )
    talk.work.edit(state="open")
    only_read = talk.end_checks()
    assert talk.read(only_read) == ForgeDeliveryState.DONE
    found = talk.work.runner.pr_check_results
    assert found is not None and [each["name"] for each in found["failures"]] == ["tests"]
    assert talk.answers() == []


def test_checks_that_passed_were_cancelled_or_are_of_another_branch_need_nothing(talk: Talk) -> None:
    report(talk, "success")
    report(talk, "cancelled", "deploy")
    passed = talk.end_checks()
    assert talk.read(passed) == ForgeDeliveryState.DONE
    branches = [{"name": "other"}]
    assert talk.receive("status", {"state": "failure", "branches": branches}) is None
    assert talk.receive("status", {"state": "pending", "branches": [{"name": "feature"}]}) is None
    assert talk.receive("check_suite", {"action": "completed", "check_suite": {"head_branch": None}}) is None
    assert talk.receive("status", {"state": "failure", "branches": [{"name": "feature"}]}) is not None


def test_others_that_still_run_are_waited_for_but_not_forever(talk: Talk) -> None:
    report(talk, "failure")
    report(talk, "", "slow")
    report(talk, "", "stuck")
    first = talk.end_checks()
    assert first is not None and talk.read(first) == ForgeDeliveryState.PENDING
    waiting = record_of(first)
    assert waiting.session_id is None and waiting.next_dispatch_at is not None
    report(talk, "failure", "slow")
    assert talk.end_checks() == first, "it is read now"
    with db.transaction():
        old = db.now(-LONGEST_WAIT_SECONDS - 1)
        db.session.execute(sa.update(ForgeDelivery).values(created_at=old))
    assert talk.read(first) == ForgeDeliveryState.STARTED
    assert "> slow" in talk.session(first).prompt and "> stuck" not in talk.session(first).prompt


def test_two_workers_that_read_the_same_failure_do_one_thing(talk: Talk) -> None:
    report(talk, "failure")
    first = talk.end_checks()
    assert first is not None
    with db.transaction():
        slow = deliveries.claim(first)
    assert slow is not None
    second = talk.end_checks()
    assert second != first, "what the first reads may be older"
    assert talk.read(second) == ForgeDeliveryState.STARTED
    with db.transaction():
        db.session.execute(sa.update(ForgeDelivery).values(lease_expires_at=db.now(-1)))
    with db.transaction():
        deliveries.repair(first)
    assert talk.read(first) == ForgeDeliveryState.IGNORED


def test_newer_work_of_the_runner_has_checks_of_its_own(talk: Talk) -> None:
    report(talk, "failure")
    with db.transaction():
        busy = new_session(talk.work.ada, talk.work.runner.id, "echo more > c.txt", agent="shell").id
    waiting = talk.end_checks()
    assert talk.read(waiting) == ForgeDeliveryState.WAITING
    talk.end(busy)
    sweep()
    assert talk.state(waiting) == ForgeDeliveryState.IGNORED
    assert ignored(talk) == "The runner has newer work than the commit whose checks failed."


def test_changes_of_checks_and_fewer_tests_wait_for_a_person(talk: Talk) -> None:
    files = {
        "tests/test_a.py": "def test_a():\n    pass\n",
        "tests/test_b.py": "",
        "tests/test_c.py": "",
        "b.py": "b\n",
    }
    talk.repository.commit("main", files, "Tests")
    report(talk, "failure")
    sha = talk.work.head_sha
    delivery_id = talk.end_checks()
    talk.read(delivery_id)
    change = "echo > tests/test_a.py; rm tests/test_b.py b.py; echo x = 1 >> tests/test_c.py; "
    talk.work_on(delivery_id, change + "mkdir -p .github/workflows; echo on: push > .github/workflows/ci.yml")
    said = talk.finish(delivery_id)
    assert "tests: .github/workflows/ci.yml, tests/test_a.py, tests/test_b.py. So I have not pushed it." in said
    assert talk.work.head_sha == sha


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tests/a.py", True),
        ("src/test_a.py", True),
        ("pkg/a_test.go", True),
        ("web/a.spec.ts", True),
        ("web/__tests__/a.js", True),
        ("src/main/ATest.java", True),
        ("spec/a_spec.rb", True),
        ("src/latest.py", False),
        ("contest/a.py", False),
        ("src/testing.md", False),
    ],
)
def test_what_looks_like_a_test(path: str, expected: bool) -> None:
    assert is_test(path) == expected


def test_a_check_that_waits_for_a_person_is_pending_and_our_own_status_counts_as_none(talk: Talk) -> None:
    report(talk, "success", STATUS_NAME, is_status=True)
    report(talk, "failure")
    report(talk, "action_required", "approval")
    found = talk.end_checks()
    assert found is not None and talk.read(found) == ForgeDeliveryState.STARTED
    results = talk.work.runner.pr_check_results
    assert results is not None and (results["passed"], results["failed"], results["pending"]) == (0, 1, 1)


def test_a_failed_pipeline_on_gitlab_becomes_a_follow_up_with_its_log_that_is_pushed(
    make_talk: Callable[..., Talk],
) -> None:
    talk = make_talk(Forge.GITLAB)

    def pipeline(status: str, ref: str | None) -> uuid.UUID | None:
        return talk.receive("Pipeline Hook", {"object_attributes": {"status": status, "ref": ref}})

    assert pipeline("running", talk.work.runner.pr_branch) is None, "it has not ended"
    assert pipeline("failed", "other") is pipeline("failed", None) is None, "it is of another branch"
    report(talk, "failure", log="one\n2 tests failed\n")
    report(talk, "failure", "optional lint")
    asked = talk.end_checks()
    assert talk.read(asked) == ForgeDeliveryState.STARTED
    prompt = talk.session(asked).prompt
    assert "on GitLab" in prompt and "> 2 tests failed" in prompt and "optional" not in prompt
    results = talk.work.runner.pr_check_results
    assert results is not None and (results["passed"], results["failed"]) == (1, 1)
    before = talk.work.head_sha
    talk.work_on(asked)
    assert "Done in " in talk.finish(asked) and talk.work.head_sha != before


def test_a_failed_status_on_gitea_becomes_a_follow_up(make_talk: Callable[..., Talk]) -> None:
    talk = make_talk(Forge.GITEA)
    sha = talk.work.head_sha
    report(talk, "failure")
    report(talk, "failure", "ci", is_status=True, summary="2 tests failed")
    assert talk.receive("status", {"sha": sha, "state": "pending"}) is None
    assert talk.receive("status", {"sha": "0" * 40, "state": "failure"}) is None
    asked = talk.end_checks()
    for event, data in {
        "action_run_failure": {"action": "failure", "run": {"commit_sha": sha}},
        "workflow_run": {"action": "completed", "workflow_run": {"head_sha": sha}},
    }.items():
        assert talk.receive(event, data) == asked, "they are read together"
    assert talk.read(asked) == ForgeDeliveryState.STARTED
    assert "on Forgejo or Gitea" in talk.session(asked).prompt and "> 2 tests failed" in talk.session(asked).prompt
    results = talk.work.runner.pr_check_results
    assert results is not None and (results["passed"], results["failed"]) == (0, 2)


def test_a_failed_pipeline_on_bitbucket_becomes_a_follow_up_with_its_log(make_talk: Callable[..., Talk]) -> None:
    talk = make_talk(Forge.BITBUCKET)
    report(talk, "failure", log="one\n2 tests failed\n")
    for state, sha in (("INPROGRESS", talk.work.head_sha), *(("FAILED", sha) for sha in ("0" * 40, "a\0", "\ud800"))):
        links = {"commit": {"href": f"https://api.bitbucket.example/commit/{sha}"}}
        data = {"commit_status": {"state": state, "links": links}}
        assert talk.receive("repo:commit_status_created", data) is None
    asked = talk.end_checks()
    assert talk.read(asked) == ForgeDeliveryState.STARTED
    prompt = talk.session(asked).prompt
    assert "on Bitbucket Cloud" in prompt and "> 2 tests failed" in prompt


def test_a_failed_pipeline_for_the_merged_result_on_gitlab_becomes_a_follow_up(
    make_talk: Callable[..., Talk],
) -> None:
    talk = make_talk(Forge.GITLAB)
    merged = merge_result(talk.repository, pulls.get(talk.repository, 1))
    checks.report(talk.repository, merged, "tests", "failure", log="one\n2 tests failed\n")
    about = {"status": "failed", "ref": "refs/merge-requests/1/merge", "sha": merged}
    event = {"object_attributes": about, "merge_request": {"iid": 1, "source_branch": talk.work.runner.pr_branch}}
    asked = talk.receive("Pipeline Hook", event)
    of_head = {"object_attributes": {"status": "success", "ref": "refs/merge-requests/1/head"}}
    of_head |= {"merge_request": {"source_branch": talk.work.runner.pr_branch}}
    assert asked is not None and talk.receive("Pipeline Hook", of_head) == asked, "they are read together"
    assert talk.read(asked) == ForgeDeliveryState.STARTED
    assert "> 2 tests failed" in talk.session(asked).prompt
    results = talk.work.runner.pr_check_results
    assert results is not None and (results["passed"], results["failed"]) == (0, 1)


def test_failed_builds_on_bitbucket_data_center_are_looked_for(make_talk: Callable[..., Talk]) -> None:
    talk = make_talk(Forge.BITBUCKET_DATA_CENTER)

    def look() -> list[uuid.UUID]:
        with db.transaction():
            db.session.execute(sa.update(AgentRunner).values(pr_check_due_at=db.now(-1)))
        check_pull_requests()
        with db.transaction(read_only=True):
            return list(db.session.scalars(sa.select(ForgeDelivery.id)))

    report(talk, "success", "lint")
    assert look() == []
    report(talk, "failure", "unit", is_status=True, summary="2 tests failed")
    [asked] = look()
    assert look() == [asked], "it is read only once"
    assert talk.read(asked) == ForgeDeliveryState.STARTED
    prompt = talk.session(asked).prompt
    assert "on Bitbucket Data Center" in prompt and "> 2 tests failed" in prompt and "lint" not in prompt
    assert look() == [asked], "something is done for this commit"
    before = talk.work.head_sha
    talk.work_on(asked)
    assert "Done in " in talk.finish(asked) and talk.work.head_sha != before
    report(talk, "failure", "unit", is_status=True)
    assert len(look()) == 2


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [(Forge.BITBUCKET_DATA_CENTER, OnFailedChecks.OFF), (Forge.GITEA, OnFailedChecks.AUTOMATIC)],
)
def test_they_are_not_looked_for_where_nobody_asked_or_the_forge_delivers_them(
    make_talk: Callable[..., Talk], kind: Forge, wanted: OnFailedChecks
) -> None:
    talk = make_talk(kind, on_failed_checks=wanted)
    report(talk, "failure")
    check_pull_requests()
    assert talk.work.runner.pr_check_results is not None
    with db.transaction(read_only=True):
        assert db.session.scalar(sa.select(ForgeDelivery.id)) is None
