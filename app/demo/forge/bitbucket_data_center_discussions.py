"""The part of the REST API of Bitbucket Data Center for comments on pull requests, which are listed as activities:
https://developer.atlassian.com/server/bitbucket/rest/
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request
from werkzeug.exceptions import NotFound

from app.demo.forge import discussions, pulls, shapes
from app.demo.forge.bitbucket_data_center import (
    REPOSITORY,
    authorize,
    milliseconds,
    page,
    refuse,
    refuse_invalid,
    refuse_missing,
    user,
)
from app.demo.forge.discussions import Entry

bitbucket_data_center_discussions = Blueprint("bitbucket_data_center_discussions", __name__, url_prefix="/rest")
bitbucket_data_center_discussions.url_value_preprocessor(authorize)
bitbucket_data_center_discussions.register_error_handler(NotFound, refuse_missing)
_PULL = f"{REPOSITORY}/pull-requests/<int:number>"
_MOST_CHARACTERS = 32_768


@bitbucket_data_center_discussions.get(f"{_PULL}/activities")
def list_activities(number: int) -> dict[str, Any]:
    """The newest first. Replies are within what they reply to, and all else that happened is there, too."""
    pull = pulls.get(g.repository, number)
    opened = {"id": 1, "createdDate": milliseconds(pull.created_at), "user": user(shapes.LOGIN), "action": "OPENED"}
    known = _entries(number)
    first = [each for each in known if each.in_reply_to_id is None]
    return page([*(_activity(each, known) for each in reversed(first)), opened])


@bitbucket_data_center_discussions.get(f"{_PULL}/comments/<int:comment_id>")
def get_comment(number: int, comment_id: int) -> dict[str, Any]:
    return _comment(_find(number, comment_id), _entries(number))


@bitbucket_data_center_discussions.post(f"{_PULL}/comments")
def create_comment(number: int) -> tuple[dict[str, Any], int]:
    pulls.get(g.repository, number)
    return _comment(discussions.comment(g.repository, number, shapes.LOGIN, _text()), []), 201


@bitbucket_data_center_discussions.put(f"{_PULL}/comments/<int:comment_id>")
def update_comment(number: int, comment_id: int) -> dict[str, Any]:
    found, given = _find(number, comment_id), request.get_json()
    if found.user != shapes.LOGIN:
        refuse(401, "You are not permitted to access this resource", "AuthorisationException")
    if given.get("version") != found.version:
        message = "You are attempting to modify a comment based on out-of-date information."
        refuse(409, message, "comment.CommentOutOfDateException")
    return _comment(discussions.edit(g.repository, comment_id, _text()), _entries(number))


def _text() -> str:
    text = str(request.get_json().get("text") or "")
    if not 0 < len(text) <= _MOST_CHARACTERS:
        refuse_invalid(f"A comment must have 1 to {_MOST_CHARACTERS} characters.")
    return text


def _entries(number: int) -> list[Entry]:
    """Each remark of a review is a comment there."""
    pulls.get(g.repository, number)
    return [each for each in discussions.entries(g.repository, number) if not each.is_review]


def _find(number: int, comment_id: int) -> Entry:
    found = next((each for each in _entries(number) if each.id == comment_id), None)
    if found is None:
        message = f"Comment {comment_id} does not exist on pull request {number}."
        refuse(404, message, "comment.NoSuchCommentException")
    return found


def _activity(entry: Entry, known: list[Entry]) -> dict[str, Any]:
    about = {"id": entry.id, "createdDate": milliseconds(entry.created_at), "user": user(entry.user)}
    return {
        **about,
        "action": "COMMENTED",
        "commentAction": "ADDED",
        "comment": _comment(entry, known),
        **({"commentAnchor": _anchor(entry)} if entry.path else {}),
    }


def _anchor(entry: Entry) -> dict[str, Any]:
    several = {"multilineMarker": {"startLine": entry.start_line, "startLineType": "ADDED"}} if entry.start_line else {}
    at = {"path": entry.path, "line": entry.line, "lineType": "ADDED", "fileType": "TO", "diffType": "EFFECTIVE"}
    return {**at, **several}


def _comment(entry: Entry, known: list[Entry]) -> dict[str, Any]:
    """A comment with its replies among the `known` ones."""
    replies = [each for each in known if each.in_reply_to_id == entry.id]
    times = {"createdDate": milliseconds(entry.created_at), "updatedDate": milliseconds(entry.created_at)}
    return {
        "id": entry.id,
        "version": entry.version,
        "text": entry.body,
        "author": user(entry.user),
        "comments": [_comment(each, known) for each in replies],
        "severity": "NORMAL",
        "state": "OPEN",
        "threadResolved": False,
        **times,
    }
