"""The part of GitHub's REST API for comments, reviews and permissions."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g
from werkzeug.exceptions import NotFound

from app.demo.forge import discussions, issues, pulls, shapes
from app.demo.forge.api import PREFIX, authorize, sent_values
from app.demo.forge.discussions import Entry
from app.demo.forge.paging import page_of

discussions_api = Blueprint("discussions_api", __name__, url_prefix=PREFIX)
discussions_api.url_value_preprocessor(authorize)
_REPOSITORY = "/repos/<owner>/<name>"


@discussions_api.get(f"{_REPOSITORY}/issues/<int:number>/comments")
def list_comments(number: int) -> list[dict[str, Any]]:
    _check_subject(number)
    found = discussions.entries(g.repository, number)
    return page_of([shapes.comment(g.repository, each) for each in found if _is_comment(each)])


@discussions_api.post(f"{_REPOSITORY}/issues/<int:number>/comments")
def create_comment(number: int) -> tuple[dict[str, Any], int, dict[str, str]]:
    _check_subject(number)
    written = discussions.comment(g.repository, number, shapes.LOGIN, discussions.text_in(sent_values()))
    body = shapes.comment(g.repository, written)
    return body, 201, {"Location": body["url"]}


@discussions_api.get(f"{_REPOSITORY}/issues/comments/<int:comment_id>")
def get_comment(comment_id: int) -> dict[str, Any]:
    return shapes.comment(g.repository, _find_comment(comment_id))


@discussions_api.patch(f"{_REPOSITORY}/issues/comments/<int:comment_id>")
def update_comment(comment_id: int) -> dict[str, Any]:
    _find_comment(comment_id)
    changed = discussions.edit(g.repository, comment_id, discussions.text_in(sent_values()))
    return shapes.comment(g.repository, changed)


@discussions_api.get(f"{_REPOSITORY}/pulls/<int:number>/reviews/<int:review_id>")
def get_review(number: int, review_id: int) -> dict[str, Any]:
    found = discussions.find(g.repository, review_id)
    if not found.is_review or found.number != number:
        raise NotFound()
    return shapes.review(g.repository, pulls.get(g.repository, number), found)


@discussions_api.get(f"{_REPOSITORY}/pulls/<int:number>/comments")
def list_review_comments(number: int) -> list[dict[str, Any]]:
    pull = pulls.get(g.repository, number)
    found = [each for each in discussions.entries(g.repository, number) if each.review_id is not None]
    return page_of([shapes.review_comment(g.repository, pull, each) for each in found])


@discussions_api.get(f"{_REPOSITORY}/collaborators/<login>/permission")
def get_permission(login: str) -> dict[str, Any]:
    may = discussions.permission(g.repository, login)
    return {"permission": may, "role_name": may, "user": {**shapes.user(login), "role_name": may}}


def _check_subject(number: int) -> None:
    """Raise `NotFound` unless there is such an issue or pull request."""
    if issues.find(g.repository, number) is None:
        pulls.get(g.repository, number)


def _is_comment(entry: Entry) -> bool:
    return not entry.is_review and entry.review_id is None


def _find_comment(comment_id: int) -> Entry:
    entry = discussions.find(g.repository, comment_id)
    if not _is_comment(entry):
        raise NotFound()
    return entry
