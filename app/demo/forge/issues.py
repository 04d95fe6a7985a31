"""Issues, with their labels, reactions, and who labelled them. Stored in a file like pull requests.

https://docs.github.com/en/rest/issues/issues
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from werkzeug.exceptions import NotFound

from app.demo.forge.pulls import ISSUES_FILE, lock, next_number, now
from app.demo.forge.repositories import Repository


@dataclass(frozen=True)
class Issue:
    """One issue. `events` are the labels that were added, with who did so."""

    number: int
    user: str
    title: str
    body: str | None
    state: str = "open"
    labels: list[str] = field(default_factory=list)
    events: list[dict[str, str]] = field(default_factory=list)
    reactions: list[str] = field(default_factory=list)
    is_confidential: bool = False
    created_at: str = field(default_factory=now)


def find(repository: Repository, number: int) -> Issue | None:
    return next((issue for issue in _stored(repository) if issue.number == number), None)


def get(repository: Repository, number: int) -> Issue:
    """One of them by its number; raises `NotFound`."""
    found = find(repository, number)
    if found is None:
        raise NotFound()
    return found


def create(repository: Repository, user: str, title: str, body: str | None) -> Issue:
    """Open an issue. It shares its numbers with pull requests."""
    with lock:
        return _save(repository, Issue(next_number(repository), user, title, body))


def label(repository: Repository, number: int, actor: str, name: str) -> Issue:
    """Add a label."""
    with lock:
        issue = get(repository, number)
        event = {"actor": actor, "label": name, "created_at": now()}
        return edit(repository, number, labels=[*issue.labels, name], events=[*issue.events, event])


def edit(repository: Repository, number: int, **changes: Any) -> Issue:
    """Change what is given."""
    with lock:
        return _save(repository, replace(get(repository, number), **changes))


def _save(repository: Repository, issue: Issue) -> Issue:
    known = {each.number: each for each in _stored(repository)} | {issue.number: issue}
    repository.store(ISSUES_FILE, known.values())
    return issue


def _stored(repository: Repository) -> list[Issue]:
    return [Issue(**values) for values in repository.stored(ISSUES_FILE)]
