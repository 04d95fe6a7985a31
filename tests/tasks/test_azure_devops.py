"""What people write on Azure DevOps, and builds that fail there, become follow-ups."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from app import db
from app.demo.forge import checks, discussions
from app.models.states import Forge, ForgeDeliveryState, OnFailedChecks, PullRequestState, RunnerState
from app.services.runners import agent_runner_sessions
from tests.demo.forge import DemoForge
from tests.tasks.pull_request import Opened
from tests.tasks.talk import Talk, record_of


@pytest.fixture
def make_talk(ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge) -> Callable[..., Talk]:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    return lambda **fields: Talk(Opened(forge, ask("true"), Forge.AZURE_DEVOPS), Forge.AZURE_DEVOPS, **fields)


def test_a_comment_of_an_allowed_person_becomes_one_follow_up_and_a_merge_shows(make_talk: Callable[..., Talk]) -> None:
    talk = make_talk(allowed_people=["Bob@example.org"])
    ignored = talk.comment("@agent-runners go on", "cleo@example.org")
    assert talk.read(ignored) == ForgeDeliveryState.IGNORED
    assert record_of(ignored or uuid.uuid4()).error == "cleo@example.org is not one of the allowed people."
    entry = discussions.comment(talk.repository, 1, "bob@example.org", "@agent-runners write two")
    asked, *more = [talk.deliver_comment(entry, each) for each in ("n1", "n1", "n2")]
    assert more == [asked, asked]
    assert talk.read(asked) == ForgeDeliveryState.STARTED
    assert (
        "> @agent-runners write two" in talk.session(asked).prompt and "on Azure DevOps" in talk.session(asked).prompt
    )
    with db.transaction():
        agent_runner_sessions.stop_active(talk.work.ada, talk.work.runner.id)
    assert "The session was stopped" in talk.finish(asked) and len(talk.answers()) == 1
    assert talk.follow(talk.deliver()) == PullRequestState.OPEN
    talk.work.merge()
    assert talk.follow(talk.deliver()) == PullRequestState.MERGED
    assert talk.work.runner.state == RunnerState.DONE


def test_a_failed_build_becomes_a_follow_up_with_its_log_and_nobody_may_ask_without_a_list_of_people(
    make_talk: Callable[..., Talk],
) -> None:
    talk = make_talk(on_failed_checks=OnFailedChecks.AUTOMATIC)
    ignored = talk.comment("@agent-runners go on")
    assert talk.read(ignored) == ForgeDeliveryState.IGNORED
    assert "allowed_people" in (record_of(ignored or uuid.uuid4()).error or "")
    checks.report(talk.repository, talk.work.head_sha, "tests", "failure", log="one\n##[error]2 tests failed\nLater\n")
    asked = talk.end_checks()
    of_branch = {"sourceBranch": f"refs/heads/{talk.work.runner.pr_branch}"}
    assert talk.receive("", {"eventType": "build.complete", "resource": of_branch}) == asked, "they are read together"
    assert talk.receive("", {"eventType": "build.complete", "resource": {"sourceBranch": "refs/heads/other"}}) is None
    assert talk.read(asked) == ForgeDeliveryState.STARTED
    prompt = talk.session(asked).prompt
    assert "> ##[error]2 tests failed" in prompt and "Later" not in prompt
    results = talk.work.runner.pr_check_results
    assert results is not None and (results["passed"], results["failed"]) == (0, 1)
