"""The part of GitLab's REST API for issues, their labels and reactions: https://docs.gitlab.com/api/issues/"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request
from werkzeug.exceptions import NotFound

from app.demo.forge import issues, pulls, shapes
from app.demo.forge.gitlab import authorize, page, person, refuse, refuse_missing

gitlab_issues = Blueprint("gitlab_issues", __name__, url_prefix="/api/v4")
gitlab_issues.url_value_preprocessor(authorize)
gitlab_issues.register_error_handler(NotFound, refuse_missing)
_ISSUE = "/projects/<path:project>/issues/<int:number>"
_STATES = {"open": "opened", "closed": "closed"}


@gitlab_issues.get(_ISSUE)
def get_issue(number: int) -> dict[str, Any]:
    issue = issues.get(g.repository, number)
    return {
        "id": number,
        "iid": number,
        "title": issue.title,
        "description": issue.body,
        "state": _STATES[issue.state],
        "labels": issue.labels,
        "author": person(issue.user),
        "confidential": issue.is_confidential,
        "created_at": issue.created_at,
        "web_url": f"{request.host_url}{g.repository.full_name}/-/issues/{number}",
    }


@gitlab_issues.get(f"{_ISSUE}/resource_label_events")
def list_label_events(number: int) -> list[dict[str, Any]]:
    """https://docs.gitlab.com/api/resource_label_events/: a label that was deleted is null."""
    found = issues.get(g.repository, number).events
    return page(
        [
            {
                "id": place,
                "user": person(event["actor"]),
                "created_at": event["created_at"],
                "resource_type": "Issue",
                "resource_id": number,
                "label": {"id": pulls.number_of(event["label"]), "name": event["label"]} if event["label"] else None,
                "action": "add",
            }
            for place, event in enumerate(found, start=1)
        ]
    )


@gitlab_issues.post(f"{_ISSUE}/award_emoji")
def create_reaction(number: int) -> tuple[dict[str, Any], int]:
    """https://docs.gitlab.com/api/emoji_reactions/: each user has one of a name."""
    name, issue = request.get_json().get("name"), issues.get(g.repository, number)
    if not name:
        refuse(400, {"error": "name is missing"})
    if name in issue.reactions:
        refuse(404, {"message": "404 Award Emoji Name has already been taken Not Found"})
    issues.edit(g.repository, number, reactions=[*issue.reactions, name])
    return {"id": 1, "name": name, "user": person(shapes.LOGIN), "awardable_id": number, "awardable_type": "Issue"}, 201
