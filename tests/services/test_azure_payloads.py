"""What Azure DevOps delivers, in the versions that it has."""

from __future__ import annotations

from typing import Any

import pytest

from app.models.states import Forge, ForgeEvent
from app.services.forge_webhooks.payloads import Notice, notice_of
from app.services.hooks.authenticity import Request
from app.services.sites.forges import recognize

COMMENT = "ms.vss-code.git-pullrequest-comment-event"
THREAD = "https://dev.azure.com/acme/_apis/git/repositories/c2c2/pullRequests/7/threads/5"
SAID = {"id": 2, "content": "Well.", "_links": {"threads": {"href": THREAD}}}


def delivered(event: str, resource: Any) -> Notice | None:
    return notice_of(Forge.AZURE_DEVOPS, Request({}.get, b""), {"eventType": event, "resource": resource})


@pytest.mark.parametrize("resource", [SAID, {"comment": SAID, "pullRequest": {"pullRequestId": 7}}])
def test_a_comment_is_named_by_its_thread_and_its_number_there(resource: Any) -> None:
    assert delivered(COMMENT, resource) == Notice(ForgeEvent.COMMENT, 7, (5 << 16) + 2, "Well.")


@pytest.mark.parametrize(
    ("branch", "notice"),
    [
        ("refs/pull/7/merge", Notice(ForgeEvent.CHECKS, 7)),
        ("refs/heads/agent/a-1", Notice(ForgeEvent.CHECKS, None, branches=("agent/a-1",))),
    ],
)
def test_a_build_is_about_a_pull_request_or_a_branch(branch: str, notice: Notice) -> None:
    assert delivered("build.complete", {"sourceBranch": branch}) == notice


@pytest.mark.parametrize(
    ("event", "resource"),
    [
        ("git.push", {"pullRequestId": 7}),
        ("git.pullrequest.updated", {"pullRequestId": "7"}),
        ("git.pullrequest.updated", {"pullRequestId": 2**40}),
        ("git.pullrequest.updated", None),
        ("build.complete", {"sourceBranch": None}),
        ("build.complete", {"sourceBranch": "refs/pull/9999999999/merge"}),
        ("build.complete", {"sourceGetVersion": "LG:refs/heads/main:00"}),
        (COMMENT, {**SAID, "id": 0}),
        (COMMENT, {**SAID, "id": 1 << 16}),
        (COMMENT, {**SAID, "id": True}),
        (COMMENT, {**SAID, "content": 7}),
        (COMMENT, {**SAID, "_links": {"threads": {"href": f"{THREAD}/comments"}}}),
        (COMMENT, {**SAID, "_links": {"threads": {"href": 7}}}),
        (COMMENT, {**SAID, "_links": {}}),
        (7, {}),
    ],
)
def test_what_is_not_followed_or_of_another_form_is_ignored(event: Any, resource: Any) -> None:
    assert delivered(event, resource) is None


def test_the_service_is_recognized_by_its_hosts() -> None:
    for url in ("https://dev.azure.com/acme/_git/app", "https://Acme.VisualStudio.com/p/_git/app"):
        assert recognize(url) == Forge.AZURE_DEVOPS
    for url in (
        "https://visualstudio.com.example/p/_git/app",
        "https://notvisualstudio.com/p",
        "https://x.dev.azure.com/",
    ):
        assert recognize(url) == Forge.NONE
