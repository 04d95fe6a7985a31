"""The part of Bitbucket Cloud's REST API for comments on pull requests."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request
from werkzeug.exceptions import NotFound

from app.demo.forge import discussions, pulls, shapes
from app.demo.forge.bitbucket import REPOSITORY, authorize, page, person, refuse, refuse_field, refuse_missing
from app.demo.forge.discussions import Entry

bitbucket_discussions = Blueprint("bitbucket_discussions", __name__, url_prefix="/2.0")
bitbucket_discussions.url_value_preprocessor(authorize)
bitbucket_discussions.register_error_handler(NotFound, refuse_missing)
_COMMENTS = f"{REPOSITORY}/pullrequests/<int:number>/comments"
DELETED_USER = "deleted"
"""What this user wrote has no author."""


@bitbucket_discussions.get(_COMMENTS)
def list_comments(number: int) -> dict[str, Any]:
    return page([_comment(each) for each in _all(number)], set())


@bitbucket_discussions.get(f"{_COMMENTS}/<int:comment_id>")
def get_comment(number: int, comment_id: int) -> dict[str, Any]:
    return _comment(_find(number, comment_id))


@bitbucket_discussions.post(_COMMENTS)
def create_comment(number: int) -> tuple[dict[str, Any], int]:
    pulls.get(g.repository, number)
    return _comment(discussions.comment(g.repository, number, shapes.LOGIN, _sent_text())), 201


@bitbucket_discussions.put(f"{_COMMENTS}/<int:comment_id>")
def update_comment(number: int, comment_id: int) -> dict[str, Any]:
    if _find(number, comment_id).user != shapes.LOGIN:
        refuse(403, "You can only edit your own comments.")
    return _comment(discussions.edit(g.repository, comment_id, _sent_text()))


def _sent_text() -> str:
    given = request.get_json()
    if given.keys() != {"content"} or given["content"].keys() != {"raw"}:
        refuse(400, "Unknown fields")
    if not given["content"]["raw"]:
        refuse_field("content", "This field is required.")
    return str(given["content"]["raw"])


def _all(number: int) -> list[Entry]:
    pulls.get(g.repository, number)
    return [each for each in discussions.entries(g.repository, number) if not each.is_review]


def _find(number: int, comment_id: int) -> Entry:
    found = next((each for each in _all(number) if each.id == comment_id), None)
    if found is None:
        refuse(404, f"Comment {comment_id} not found")
    return found


def _comment(entry: Entry) -> dict[str, Any]:
    place = {"path": entry.path, "from": None, "to": entry.line, "start_from": None, "start_to": entry.start_line}
    parent = {"parent": {"type": "pullrequest_comment", "id": entry.in_reply_to_id}} if entry.in_reply_to_id else {}
    return {
        "type": "pullrequest_comment",
        "id": entry.id,
        "content": {"raw": entry.body, "markup": "markdown", "html": ""},
        "user": None if entry.user == DELETED_USER else person(entry.user),
        "deleted": False,
        "pending": False,
        "created_on": entry.created_at,
        "updated_on": entry.created_at,
        "pullrequest": {"type": "pullrequest", "id": entry.number},
        **({"inline": place} if entry.path else {}),
        **parent,
    }
