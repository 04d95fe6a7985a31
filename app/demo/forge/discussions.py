"""What people write about pull requests: comments and reviews, and who may write. Stored in a file like pull requests.

https://docs.github.com/en/rest/issues/comments and https://docs.github.com/en/rest/pulls/comments
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from werkzeug.exceptions import NotFound

from app.demo.forge.forge import Refused
from app.demo.forge.pulls import lock, now
from app.demo.forge.repositories import Repository

_FILE, _PERMISSIONS = "discussions.json", "permissions.json"
_MAX_CHARACTERS = 65_536


@dataclass(frozen=True)
class Entry:
    """A comment, a review, or a comment of a review at a place in the diff."""

    id: int
    number: int
    user: str
    body: str
    created_at: str = field(default_factory=now)
    is_review: bool = False
    review_id: int | None = None
    path: str | None = None
    line: int | None = None
    start_line: int | None = None
    diff_hunk: str = ""
    in_reply_to_id: int | None = None
    version: int = 0
    """How often it was edited."""


def entries(repository: Repository, number: int | None = None) -> list[Entry]:
    """Everything that was written, or all of it about one pull request, the oldest first."""
    stored = [Entry(**values) for values in repository.stored(_FILE)]
    return [entry for entry in stored if number in (None, entry.number)]


def comment(repository: Repository, number: int, user: str, body: str) -> Entry:
    """Comment on a pull request as a whole."""
    return _add(repository, number=number, user=user, body=body)


def review(repository: Repository, number: int, user: str, body: str, *places: dict[str, Any]) -> Entry:
    """Submit a review, with a comment for each of `places`: its body, path, lines, and the comment that it replies to."""
    with lock:
        submitted = _add(repository, number=number, user=user, body=body, is_review=True)
        for place in places:
            _add(repository, number=number, user=user, review_id=submitted.id, **place)
        return submitted


def find(repository: Repository, entry_id: int) -> Entry:
    """One of them by its id; raises `NotFound`."""
    found = next((entry for entry in entries(repository) if entry.id == entry_id), None)
    if found is None:
        raise NotFound()
    return found


def edit(repository: Repository, entry_id: int, body: str) -> Entry:
    """Replace the text of a comment."""
    with lock:
        found = find(repository, entry_id)
        changed = replace(found, body=body, version=found.version + 1)
        repository.store(_FILE, [changed if entry.id == entry_id else entry for entry in entries(repository)])
        return changed


def permission(repository: Repository, user: str) -> str:
    """What somebody may do; a public repository may be read by everybody. Raises `NotFound` for a stranger."""
    known = permissions(repository)
    if user not in known:
        raise NotFound()
    return str(known[user])


def permissions(repository: Repository) -> dict[str, str]:
    """What each person who is known may do."""
    path = repository.folder / _PERMISSIONS
    return dict(json.loads(path.read_text())) if path.exists() else {}


def permit(repository: Repository, user: str, may: str) -> None:
    """Let somebody `read`, `write` or `admin`."""
    known = permissions(repository)
    (repository.folder / _PERMISSIONS).write_text(json.dumps({**known, user: may}))


def text_in(values: dict[str, Any]) -> str:
    """The `body` of a request. Raises `Refused` for what GitHub does not take."""
    body = values.get("body")
    if not isinstance(body, str) or not body.strip():
        problem = {"resource": "IssueComment", "field": "body", "code": "missing_field"}
        raise Refused(422, "Validation Failed", problem)
    if len(body) > _MAX_CHARACTERS:
        message = f"body is too long (maximum is {_MAX_CHARACTERS} characters)"
        raise Refused(
            422, "Validation Failed", {"resource": "IssueComment", "code": "unprocessable", "message": message}
        )
    return body


def _add(repository: Repository, **values: Any) -> Entry:
    with lock:
        known = entries(repository)
        entry = Entry(id=1 + max((each.id for each in known), default=1000), **values)
        repository.store(_FILE, [*known, entry])
        return entry
