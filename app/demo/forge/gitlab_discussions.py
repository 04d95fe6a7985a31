"""The part of GitLab's REST API for comments on merge requests and issues, and for members: https://docs.gitlab.com/api/notes/"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request
from werkzeug.exceptions import NotFound

from app.demo.forge import discussions, issues, pulls, shapes
from app.demo.forge.discussions import Entry
from app.demo.forge.gitlab import authorize, page, person, refuse, refuse_missing

gitlab_discussions = Blueprint("gitlab_discussions", __name__, url_prefix="/api/v4")
gitlab_discussions.url_value_preprocessor(authorize)
gitlab_discussions.register_error_handler(NotFound, refuse_missing)
NOTEABLE = {"merge_requests": "MergeRequest", "issues": "Issue"}
_THING = "/projects/<path:project>/<any(merge_requests, issues):kind>/<int:number>"
_LEVELS, _MOST_NOTE_CHARACTERS = {"read": 20, "write": 30, "admin": 40}, 1_000_000


@gitlab_discussions.get("/projects/<path:project>/members/all")
def list_members() -> list[dict[str, Any]]:
    """https://docs.gitlab.com/api/project_members/: `query` finds parts of names."""
    query = request.args.get("query", "").lower()
    found = [(name, may) for name, may in discussions.permissions(g.repository).items() if query in name.lower()]
    return page([{**person(name), "access_level": _LEVELS[may]} for name, may in found])


@gitlab_discussions.get(f"{_THING}/notes")
def list_notes(kind: str, number: int) -> list[dict[str, Any]]:
    found = [_note(kind, each) for each in _notes(kind, number)]
    return page(found if request.args.get("sort") == "asc" else found[::-1])


@gitlab_discussions.get(f"{_THING}/discussions")
def list_discussions(kind: str, number: int) -> list[dict[str, Any]]:
    """https://docs.gitlab.com/api/discussions/: replies are with what they reply to."""
    threads: dict[int, list[dict[str, Any]]] = {}
    for entry in _notes(kind, number):
        threads.setdefault(entry.in_reply_to_id or entry.id, []).append(_note(kind, entry))
    return page([{"id": str(first), "individual_note": False, "notes": notes} for first, notes in threads.items()])


@gitlab_discussions.get(f"{_THING}/notes/<int:note_id>")
def get_note(kind: str, number: int, note_id: int) -> dict[str, Any]:
    return _note(kind, _find_note(kind, number, note_id))


@gitlab_discussions.post(f"{_THING}/notes")
def create_note(kind: str, number: int) -> tuple[dict[str, Any], int]:
    _check_subject(kind, number)
    return _note(kind, discussions.comment(g.repository, number, shapes.LOGIN, _body())), 201


@gitlab_discussions.put(f"{_THING}/notes/<int:note_id>")
def update_note(kind: str, number: int, note_id: int) -> dict[str, Any]:
    if _find_note(kind, number, note_id).user != shapes.LOGIN:
        refuse(403, {"message": "403 Forbidden"})
    return _note(kind, discussions.edit(g.repository, note_id, _body()))


def _body() -> str:
    body = request.get_json().get("body")
    if not body:
        refuse(400, {"error": "body is missing"})
    if len(body) > _MOST_NOTE_CHARACTERS:
        refuse(400, {"message": {"note": [f"is too long (maximum is {_MOST_NOTE_CHARACTERS} characters)"]}})
    return str(body)


def _notes(kind: str, number: int) -> list[Entry]:
    _check_subject(kind, number)
    return [each for each in discussions.entries(g.repository, number) if not each.is_review]


def _find_note(kind: str, number: int, note_id: int) -> Entry:
    found = next((each for each in _notes(kind, number) if each.id == note_id), None)
    if found is None:
        refuse(404, {"message": "404 Note Not Found"})
    return found


def _note(kind: str, entry: Entry) -> dict[str, Any]:
    at = {"new_path": entry.path, "old_path": entry.path, "new_line": entry.line, "old_line": None}
    position = {"position": {**at, "position_type": "text"}} if entry.path else {}
    about = {"noteable_iid": entry.number, "noteable_type": NOTEABLE[kind], "system": False}
    made = {"type": "DiffNote" if entry.path else None, "created_at": entry.created_at}
    return {"id": entry.id, "body": entry.body, "author": person(entry.user), **about, **made, **position}


def _check_subject(kind: str, number: int) -> None:
    """Raise `NotFound` unless there is one of that kind: a merge request and an issue may have the same number there."""
    found = pulls.get if kind == "merge_requests" else issues.get
    found(g.repository, number)
