"""What the forges deliver, in one form. Of a delivery only what it is about is kept: the rest is asked for later."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.models.states import Forge, ForgeEvent
from app.services.hooks.authenticity import Request

# A pipeline whose next job has to be started by somebody is `manual`.
_ENDED = ("success", "failed", "canceled", "skipped", "manual")
_OF_BITBUCKET_PULL_REQUESTS = tuple(f"pullrequest:{what}" for what in ("created", "updated", "fulfilled", "rejected"))
# The database can neither store nor be asked for these.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LARGEST_NUMBER, _LARGEST_ID, _LONGEST_BRANCH = 2**31 - 1, 2**63 - 1, 255


@dataclass(frozen=True)
class Notice:
    """Something happened to the pull request with this number, or of one of these branches, or with this commit, or was
    written about it; or the issue with this number was opened, labelled or commented."""

    event: ForgeEvent
    number: int | None
    subject_id: int | None = None
    """The comment or review."""
    text: str = ""
    branches: tuple[str, ...] = ()
    commit: str = ""
    labels: tuple[str, ...] = ()
    """Of the issue, those that may have been added."""


def notice_of(forge: Forge, request: Request, data: Mapping[str, Any]) -> Notice | None:
    """What was delivered. None: it is nothing that is followed, or not in the form that this forge uses."""
    event_header, read = _FORGES[forge]
    try:
        notice = read(request.header(event_header) or "", data)
    except (AttributeError, KeyError, TypeError):
        return None
    return notice if notice is not None and _is_valid(notice) else None


def _is_valid(notice: Notice) -> bool:
    """Values come from JSON, so they may have any type."""
    is_id = notice.subject_id is None or _is_whole(notice.subject_id, _LARGEST_ID)
    if notice.number is None:
        is_about = all(map(_is_branch, notice.branches)) and (notice.commit == "" or _is_commit(notice.commit))
    else:
        is_about = _is_whole(notice.number, _LARGEST_NUMBER)
    return is_about and is_id and all(isinstance(each, str) for each in (notice.text, *notice.labels))


def _is_branch(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_BRANCH and not _UNSTORABLE.search(value)


def _is_commit(value: object) -> bool:
    return isinstance(value, str) and bool(_COMMIT.fullmatch(value))


def _is_whole(value: object, most: int) -> bool:
    return type(value) is int and 0 < value <= most


def _github(event: str, data: Mapping[str, Any]) -> Notice | None:
    """https://docs.github.com/en/webhooks/webhook-events-and-payloads

    A comment at a place in the diff always belongs to a review, even if it is the only one. So both name the review,
    whose remarks are gathered into one.
    """
    if event == "pull_request":
        return Notice(ForgeEvent.PULL_REQUEST, data["pull_request"]["number"])
    if event == "status" and data["state"] != "pending":
        return Notice(ForgeEvent.CHECKS, None, branches=tuple(each["name"] for each in data["branches"]))
    match event, data["action"]:
        case "issue_comment", "created" if "pull_request" in data["issue"]:
            comment = data["comment"]
            return Notice(ForgeEvent.COMMENT, data["issue"]["number"], comment["id"], comment["body"] or "")
        case "issue_comment", "created":
            comment = data["comment"]
            return Notice(ForgeEvent.ISSUE, data["issue"]["number"], comment["id"], comment["body"] or "")
        case "issues", "labeled":
            return Notice(ForgeEvent.ISSUE, data["issue"]["number"], labels=(data["label"]["name"],))
        case "issues", "opened":
            return Notice(ForgeEvent.ISSUE, data["issue"]["number"], text=data["issue"]["body"] or "")
        case "pull_request_review", "submitted":
            review = data["review"]
            return Notice(ForgeEvent.REVIEW, data["pull_request"]["number"], review["id"], review["body"] or "")
        case "pull_request_review_comment", "created":
            comment, number = data["comment"], data["pull_request"]["number"]
            return Notice(ForgeEvent.REVIEW, number, comment["pull_request_review_id"], comment["body"] or "")
        case "check_suite", "completed":
            return Notice(ForgeEvent.CHECKS, None, branches=(data["check_suite"]["head_branch"],))
    return None


def _gitea(event: str, data: Mapping[str, Any]) -> Notice | None:
    """https://docs.gitea.com/usage/webhooks and https://forgejo.org/docs/latest/user/webhooks/

    A review has no id there, so only comments are followed. Gitea delivers statuses and runs of Actions, and Forgejo runs by
    names of its own.
    """
    if event == "pull_request":
        return Notice(ForgeEvent.PULL_REQUEST, data["pull_request"]["number"])
    if event == "status" and data["state"] != "pending":
        return Notice(ForgeEvent.CHECKS, None, commit=data["sha"])
    if event in ("action_run_success", "action_run_failure", "action_run_recover"):
        return Notice(ForgeEvent.CHECKS, None, commit=data["run"]["commit_sha"])
    match event, data["action"]:
        case "workflow_run", "completed":
            return Notice(ForgeEvent.CHECKS, None, commit=data["workflow_run"]["head_sha"])
        case "issue_comment", "created":
            kind, comment = ForgeEvent.COMMENT if data["is_pull"] else ForgeEvent.ISSUE, data["comment"]
            return Notice(kind, data["issue"]["number"], comment["id"], comment["body"] or "")
        case "issues", "opened" | "label_updated" as action:
            issue = data["issue"]
            labels = tuple(each["name"] for each in issue["labels"] or ())
            text = issue["body"] or "" if action == "opened" else ""
            return Notice(ForgeEvent.ISSUE, issue["number"], text=text, labels=labels)
    return None


def _gitlab(event: str, data: Mapping[str, Any]) -> Notice | None:
    """https://docs.gitlab.com/user/project/integrations/webhook_events/"""
    about = data["object_attributes"]
    if event == "Merge Request Hook":
        return Notice(ForgeEvent.PULL_REQUEST, about["iid"])
    if event == "Pipeline Hook" and about["status"] in _ENDED:
        # The pipeline of a merge request runs for a ref of its own.
        merge_request = data.get("merge_request")
        return Notice(
            ForgeEvent.CHECKS, None, branches=(merge_request["source_branch"] if merge_request else about["ref"],)
        )
    # Older servers send no action, and only new comments.
    is_new = about.get("action", "create") == "create"
    if event == "Note Hook" and is_new and about["noteable_type"] == "MergeRequest":
        return Notice(ForgeEvent.COMMENT, data["merge_request"]["iid"], about["id"], about["note"] or "")
    if event == "Note Hook" and is_new and about["noteable_type"] == "Issue":
        return Notice(ForgeEvent.ISSUE, data["issue"]["iid"], about["id"], about["note"] or "")
    # Those of confidential issues have another name.
    if event == "Issue Hook" and about["action"] in ("open", "update"):
        is_new, before = about["action"] == "open", _titles(data, "previous")
        labels = tuple(each["title"] for each in data["labels"]) if is_new else _titles(data, "current")
        added = tuple(each for each in labels if each not in before)
        return Notice(ForgeEvent.ISSUE, about["iid"], text=about["description"] or "" if is_new else "", labels=added)
    return None


def _bitbucket(event: str, data: Mapping[str, Any]) -> Notice | None:
    """https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/"""
    if event in _OF_BITBUCKET_PULL_REQUESTS:
        return Notice(ForgeEvent.PULL_REQUEST, data["pullrequest"]["id"])
    if event == "pullrequest:comment_created":
        comment = data["comment"]
        return Notice(ForgeEvent.COMMENT, data["pullrequest"]["id"], comment["id"], comment["content"]["raw"] or "")
    if event in ("repo:commit_status_created", "repo:commit_status_updated"):
        status = data["commit_status"]
        if status["state"] != "INPROGRESS":
            return Notice(ForgeEvent.CHECKS, None, commit=status["links"]["commit"]["href"].rpartition("/")[2])
    return None


def _azure_devops(_: str, data: Mapping[str, Any]) -> Notice | None:
    """https://learn.microsoft.com/azure/devops/service-hooks/events

    A comment is numbered within its thread, so both numbers are its id, as `workers/forges/azure_discussions.py` takes it
    apart.
    """
    event, about = data["eventType"], data["resource"]
    if event in ("git.pullrequest.created", "git.pullrequest.updated", "git.pullrequest.merged"):
        return Notice(ForgeEvent.PULL_REQUEST, about["pullRequestId"])
    if event == "build.complete":
        branch = about["sourceBranch"]
        if pull := re.fullmatch(r"refs/pull/(\d{1,10})/merge", branch):
            return Notice(ForgeEvent.CHECKS, int(pull[1]))
        return Notice(ForgeEvent.CHECKS, None, branches=(branch.removeprefix("refs/heads/"),))
    if event == "ms.vss-code.git-pullrequest-comment-event":
        # The first version of this event is the comment itself.
        comment = about.get("comment", about)
        place = re.search(r"/pullRequests/(\d{1,10})/threads/(\d{1,10})$", comment["_links"]["threads"]["href"])
        if place and type(comment["id"]) is int and 0 < comment["id"] < 1 << 16:
            comment_id = (int(place[2]) << 16) + comment["id"]
            return Notice(ForgeEvent.COMMENT, int(place[1]), comment_id, comment.get("content") or "")
    return None


def _bitbucket_data_center(event: str, data: Mapping[str, Any]) -> Notice | None:
    """https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html

    Each remark of a review is a comment there. Nothing is delivered of builds.
    """
    if event.startswith("pr:comment:"):
        if event != "pr:comment:added":
            return None
        comment = data["comment"]
        return Notice(ForgeEvent.COMMENT, data["pullRequest"]["id"], comment["id"], comment["text"] or "")
    return Notice(ForgeEvent.PULL_REQUEST, data["pullRequest"]["id"]) if event.startswith("pr:") else None


def _titles(data: Mapping[str, Any], when: str) -> tuple[str, ...]:
    """The labels of an issue on GitLab before and after a change, none if these have not changed."""
    return tuple(each["title"] for each in data.get("changes", {}).get("labels", {}).get(when, ()))


_FORGES: Mapping[Forge, tuple[str, Callable[[str, Mapping[str, Any]], Notice | None]]] = {
    Forge.GITHUB: ("X-GitHub-Event", _github),
    Forge.GITLAB: ("X-Gitlab-Event", _gitlab),
    Forge.GITEA: ("X-Gitea-Event", _gitea),
    Forge.BITBUCKET: ("X-Event-Key", _bitbucket),
    # The body names the event.
    Forge.AZURE_DEVOPS: ("", _azure_devops),
    Forge.BITBUCKET_DATA_CENTER: ("X-Event-Key", _bitbucket_data_center),
}
