"""The part of GitHub's REST API for issues, their events and reactions."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request

from app.demo.forge import issues, pulls, shapes
from app.demo.forge.api import PREFIX, authorize, sent_values
from app.demo.forge.forge import Refused
from app.demo.forge.issues import Issue
from app.demo.forge.paging import page_of

issues_api = Blueprint("issues_api", __name__, url_prefix=PREFIX)
issues_api.url_value_preprocessor(authorize)
_ISSUE = "/repos/<owner>/<name>/issues/<int:number>"
_REACTIONS = ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes")


@issues_api.get(_ISSUE)
def get_issue(number: int) -> dict[str, Any]:
    """https://docs.github.com/en/rest/issues/issues#get-an-issue: a pull request is one as well."""
    issue = issues.find(g.repository, number)
    if issue is not None:
        return _shape(issue)
    pull = pulls.get(g.repository, number)
    url = f"{request.host_url}api/v3/repos/{g.repository.full_name}/pulls/{number}"
    links = dict.fromkeys(["url", "html_url", "diff_url", "patch_url"], url)
    return {**shapes.issue(g.repository, pull), "pull_request": links}


@issues_api.get(f"{_ISSUE}/events")
def list_events(number: int) -> list[dict[str, Any]]:
    """https://docs.github.com/en/rest/issues/events#list-issue-events"""
    found = issues.get(g.repository, number).events
    return page_of([_event(number, each) for number, each in enumerate(found)])


@issues_api.post(f"{_ISSUE}/reactions")
def create_reaction(number: int) -> tuple[dict[str, Any], int]:
    """https://docs.github.com/en/rest/reactions/reactions#create-reaction-for-an-issue"""
    content, issue = sent_values().get("content"), issues.get(g.repository, number)
    if content not in _REACTIONS:
        raise Refused(422, "Validation Failed", {"resource": "Reaction", "field": "content", "code": "invalid"})
    is_new = content not in issue.reactions
    if is_new:
        issues.edit(g.repository, number, reactions=[*issue.reactions, content])
    about = {"id": number, "node_id": f"REA_{number}", "content": content, "created_at": issue.created_at}
    return {**about, "user": shapes.user(shapes.LOGIN)}, 201 if is_new else 200


def _event(number: int, event: dict[str, str]) -> dict[str, Any]:
    """GitHub's `labeled-issue-event`."""
    url = f"{request.host_url}api/v3/repos/{g.repository.full_name}/issues/events/{number}"
    return {
        **dict.fromkeys(["commit_id", "commit_url", "performed_via_github_app"]),
        "id": number,
        "node_id": f"LE_{number}",
        "url": url,
        "actor": shapes.user(event["actor"]),
        "event": "labeled",
        "created_at": event["created_at"],
        "label": {"name": event["label"], "color": "ededed"},
    }


def _shape(issue: Issue) -> dict[str, Any]:
    """GitHub's `issue`."""
    whole = f"{request.host_url}api/v3/repos/{g.repository.full_name}"
    url = f"{whole}/issues/{issue.number}"
    return {
        **dict.fromkeys(["assignee", "closed_at", "milestone"]),
        "id": issue.number,
        "node_id": f"I_{issue.number}",
        "number": issue.number,
        "title": issue.title,
        "body": issue.body,
        "user": shapes.user(issue.user),
        "state": issue.state,
        "labels": [shapes.label(g.repository, each) for each in issue.labels],
        "locked": False,
        "comments": 0,
        "author_association": "NONE",
        "created_at": issue.created_at,
        "updated_at": issue.created_at,
        "url": url,
        "repository_url": whole,
        "html_url": f"{request.host_url}{g.repository.full_name}/issues/{issue.number}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "labels_url": f"{url}/labels{{/name}}",
    }
