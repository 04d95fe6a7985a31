"""The part of the REST API of Gitea and Forgejo for issues, their timeline and reactions: https://docs.gitea.com/api/

The forms are those of Gitea's `services/convert/issue.go` and `issue_comment.go`.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, jsonify, request
from werkzeug.exceptions import NotFound

from app.demo.forge import issues, pulls, shapes
from app.demo.forge.gitea import authorize, label, person, refuse, refuse_missing
from app.demo.forge.paging import page_of

gitea_issues = Blueprint("gitea_issues", __name__, url_prefix="/api/v1")
gitea_issues.url_value_preprocessor(authorize)
gitea_issues.register_error_handler(NotFound, refuse_missing)
_ISSUE = "/repos/<owner>/<name>/issues/<int:number>"
_REACTIONS = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")


@gitea_issues.get(_ISSUE)
def get_issue(number: int) -> dict[str, Any]:
    """A pull request is one as well."""
    found = issues.find(g.repository, number)
    about = found or pulls.get(g.repository, number)
    return {
        "id": number,
        "number": number,
        "title": about.title,
        "body": about.body or "",
        "user": person(found.user if found else shapes.LOGIN),
        "state": about.state,
        "labels": [label(each) for each in about.labels],
        "pull_request": None if found else {"merged": False, "merged_at": None},
    }


@gitea_issues.get(f"{_ISSUE}/timeline")
def list_timeline(number: int) -> Response:
    """Comments and events. Of a label that was added the text is "1", and of one that was removed it is empty. A page
    beyond the last is null."""
    found = issues.get(g.repository, number).events
    rows = [
        {
            "id": place,
            "type": "label",
            "user": person(event["actor"]),
            "body": event.get("body", "1"),
            "label": label(event["label"]) if event["label"] else None,
            "created_at": event["created_at"],
        }
        for place, event in enumerate(found, start=1)
    ]
    return jsonify(page_of(rows, size_name="limit", most=50) or None)


@gitea_issues.post(f"{_ISSUE}/reactions")
def create_reaction(number: int) -> tuple[dict[str, Any], int]:
    content, issue = request.get_json().get("content"), issues.get(g.repository, number)
    if content not in _REACTIONS:
        refuse(403, f"reaction '{content}' is not an allowed reaction")
    is_new = content not in issue.reactions
    if is_new:
        issues.edit(g.repository, number, reactions=[*issue.reactions, content])
    return {"user": person(shapes.LOGIN), "content": content}, 201 if is_new else 200
