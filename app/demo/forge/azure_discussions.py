"""The part of the REST API of Azure DevOps for comments on pull requests, in threads.

https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-threads. What replies to nothing is a thread of its own.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request
from werkzeug.exceptions import NotFound

from app.demo.forge import discussions, pulls, shapes
from app.demo.forge.azure_devops import PULL_REQUEST, authorize, identity_ref, refuse, refuse_missing
from app.demo.forge.discussions import Entry

azure_discussions = Blueprint("azure_discussions", __name__)
azure_discussions.url_value_preprocessor(authorize)
azure_discussions.register_error_handler(NotFound, refuse_missing)
_THREADS = f"{PULL_REQUEST}/threads"
_MOST_CHARACTERS = 150_000
_STATUSES = ("active", "fixed", "wontFix", "closed", "byDesign", "pending")


@azure_discussions.get(_THREADS)
def list_threads(number: int) -> dict[str, Any]:
    """All of them: this list has no pages. The first says that the pull request was published."""
    said = {"commentType": "system", "content": "Demo published the pull request"}
    made = {"id": 1, "comments": [{"id": 1, "author": identity_ref(shapes.LOGIN), **said}], "threadContext": None}
    threads = [made, *(_thread(each) for each in _all_threads(number))]
    return {"count": len(threads), "value": threads}


@azure_discussions.get(f"{_THREADS}/<int:thread_id>")
def get_thread(number: int, thread_id: int) -> dict[str, Any]:
    return _thread(_find(number, thread_id))


@azure_discussions.post(_THREADS)
def create_thread(number: int) -> dict[str, Any]:
    given = request.get_json()
    comments = given.get("comments") or [{}]
    if given.get("status") not in _STATUSES or len(comments) != 1 or comments[0].get("commentType") != "text":
        refuse(400, "InvalidArgumentValueException", "Invalid argument value. Parameter name: commentThread")
    pulls.get(g.repository, number)
    made = discussions.comment(g.repository, number, shapes.LOGIN, _content(comments[0]))
    return _thread([made])


@azure_discussions.patch(f"{_THREADS}/<int:thread_id>/comments/<int:comment_id>")
def update_comment(number: int, thread_id: int, comment_id: int) -> dict[str, Any]:
    found = _find(number, thread_id)
    if not 0 < comment_id <= len(found):
        refuse(404, "CommentNotFoundException", f"The comment {comment_id} of thread {thread_id} was not found.")
    entry = found[comment_id - 1]
    if entry.user != shapes.LOGIN:
        refuse(403, "CommentCannotBeUpdatedException", "You can only edit your own comments.")
    return _comment(discussions.edit(g.repository, entry.id, _content(request.get_json())), comment_id)


def _content(given: dict[str, Any]) -> str:
    content = given.get("content")
    if not isinstance(content, str) or not content or len(content) > _MOST_CHARACTERS:
        refuse(400, "InvalidArgumentValueException", "Invalid argument value. Parameter name: content")
    return content


def _all_threads(number: int) -> list[list[Entry]]:
    pulls.get(g.repository, number)
    threads: dict[int, list[Entry]] = {}
    for entry in discussions.entries(g.repository, number):
        if not entry.is_review:
            threads.setdefault(entry.in_reply_to_id or entry.id, []).append(entry)
    return list(threads.values())


def _find(number: int, thread_id: int) -> list[Entry]:
    found = next((each for each in _all_threads(number) if each[0].id == thread_id), None)
    if found is None:
        refuse(404, "CommentThreadNotFoundException", f"The thread {thread_id} of pull request {number} was not found.")
    return found


def _thread(entries: list[Entry]) -> dict[str, Any]:
    first = entries[0]
    begin, end = ({"line": line, "offset": 1} for line in (first.start_line or first.line, first.line))
    place = {"filePath": f"/{first.path}", "rightFileStart": begin, "rightFileEnd": end} if first.path else None
    comments = [_comment(each, number) for number, each in enumerate(entries, 1)]
    return {"id": first.id, "comments": comments, "status": "active", "threadContext": place, "isDeleted": False}


def _comment(entry: Entry, number: int) -> dict[str, Any]:
    # One that is deleted has no text.
    text = {"content": entry.body} if entry.body else {"isDeleted": True}
    about = {"id": number, "parentCommentId": number - 1, "author": identity_ref(entry.user), "commentType": "text"}
    return {**about, **text, "publishedDate": entry.created_at}
