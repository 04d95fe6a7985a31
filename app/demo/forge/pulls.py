"""Pull requests, with the rules of GitHub. Each repository stores its own in a file."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from werkzeug.exceptions import NotFound

from app.demo.forge.forge import Refused, forge, login
from app.demo.forge.repositories import Repository

_FILE, ISSUES_FILE = "pulls.json", "issues.json"
_NO_DRAFTS = "Draft pull requests are not supported in this repository."
_MAX_CHARACTERS = {"title": 256, "body": 65_536}
LABELS, TEAMS = ("agent", "bug"), ("backend",)
PEOPLE = ("demo", "ada", "grace")
"""The labels, teams and people of every repository. The first person is whose tokens have no other owner."""
# Changes run one at a time, so that the second of two concurrent ones sees the result of the first.
lock = threading.RLock()


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Pull:
    """One pull request. The shas are those of its branches while it is open, and stay as they were when it ended."""

    number: int
    title: str
    body: str | None
    draft: bool
    head: str
    base: str
    head_sha: str
    base_sha: str
    state: str = "open"
    created_at: str = field(default_factory=now)
    updated_at: str = field(default_factory=now)
    closed_at: str | None = None
    merged_at: str | None = None
    merge_commit_sha: str | None = None
    labels: list[str] = field(default_factory=list)
    reviewers: list[str] = field(default_factory=list)
    teams: list[str] = field(default_factory=list)
    assignees: list[str] = field(default_factory=list)
    version: int = 0
    """How often it has changed."""
    author: str = PEOPLE[0]

    @property
    def is_open(self) -> bool:
        return self.state == "open"

    @property
    def label(self) -> str:
        """The state in one word, as shown on pages."""
        return "merged" if self.merged_at else "draft" if self.is_open and self.draft else self.state


def get_all(repository: Repository) -> list[Pull]:
    """All pull requests, newest first. Open ones are updated after pushes first."""
    with lock:
        pulls = _stored(repository)
        branches = repository.branches() if any(pull.is_open for pull in pulls) else {}
        return [_updated(repository, pull, branches) if pull.is_open else pull for pull in pulls]


def get(repository: Repository, number: int) -> Pull:
    found = next((pull for pull in get_all(repository) if pull.number == number), None)
    if found is None:
        raise NotFound()
    return found


def create(repository: Repository, values: dict[str, Any]) -> Pull:
    """https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request"""
    title, body, base = _text(values, "title"), _text(values, "body"), _text(values, "base") or ""
    if not title or not title.strip():
        raise invalid("title", "missing_field")
    draft = bool(values.get("draft"))
    if draft and not forge().has_drafts:
        raise Refused(422, _NO_DRAFTS)
    # The head may be given as `owner:branch`. There are no forks here, so the owner must be that of the repository.
    owner, _, head = (_text(values, "head") or "").rpartition(":")
    if owner not in ("", repository.owner):
        raise invalid("head")
    with lock:
        shas = _mergeable_shas(repository, head, base)
        return add(repository, title=title, body=body, draft=draft, head=head, base=base, shas=shas)


def add(
    repository: Repository, *, title: str, body: str | None, draft: bool, head: str, base: str, shas: tuple[str, str]
) -> Pull:
    """Store a new pull request. `shas` are those of its branches. The caller holds the lock and has checked it all."""
    number = next_number(repository)
    # The ref is created first, because a pull request must not exist without its commits.
    repository.move(f"refs/pull/{number}/head", shas[0])
    made = Pull(number, title, body, draft, head, base, *shas, author=login() or PEOPLE[0])
    return save(repository, made)


def next_number(repository: Repository) -> int:
    """The number of the next pull request or issue."""
    issues = repository.stored(ISSUES_FILE)
    numbers = [*(pull.number for pull in get_all(repository)), *(issue["number"] for issue in issues)]
    return 1 + max(numbers, default=0)


def update(repository: Repository, number: int, values: dict[str, Any]) -> Pull:
    """https://docs.github.com/en/rest/pulls/pulls#update-a-pull-request"""
    title, body, state = (_text(values, name) for name in ("title", "body", "state"))
    if state not in (None, "open", "closed"):
        raise invalid("state")
    if "base" in values:
        raise _unprocessable("Changing the base is not supported by the demonstration forge.", field="base")
    with lock:
        pull = get(repository, number)
        changes: dict[str, Any] = {"title": title or pull.title, "body": body if "body" in values else pull.body}
        if state == "closed" and pull.is_open:
            changes |= {"state": "closed", "closed_at": now()}
        if state == "open" and not pull.is_open:
            if pull.merged_at:
                raise _unprocessable("state cannot be changed. The pull request was merged.", field="state")
            if not {pull.head, pull.base} <= repository.branches().keys():
                raise _unprocessable("state cannot be changed. The branch has been deleted.", field="state")
            head_sha, base_sha = _mergeable_shas(repository, pull.head, pull.base, field="state")
            changes |= {"state": "open", "closed_at": None, "head_sha": head_sha, "base_sha": base_sha}
        return save(repository, pull, **changes)


def make_draft(repository: Repository, pull: Pull, *, draft: bool) -> Pull:
    """Turn a pull request into a draft, or a draft into an ordinary one."""
    if draft and not forge().has_drafts:
        raise Refused(422, _NO_DRAFTS)
    with lock:
        return save(repository, get(repository, pull.number), draft=draft)


def merge(repository: Repository, number: int, values: dict[str, Any]) -> Pull:
    """https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request"""
    with lock:
        pull, method = get(repository, number), values.get("merge_method", "merge")
        if not pull.is_open:
            raise Refused(405, "Pull Request is not mergeable")
        if pull.draft:
            raise Refused(405, "Pull Request is still a work in progress")
        if method != "merge":
            raise Refused(405, f"{str(method).capitalize()} merges are not allowed on this repository.")
        if values.get("sha") not in (None, pull.head_sha):
            raise Refused(409, "Head branch was modified. Review and try the merge again.")
        sides = pull.base_sha, pull.head_sha
        has_history = repository.run("merge-base", *sides).returncode == 0
        tree = repository.merged_tree(*sides) if has_history else None
        if tree is None:
            raise Refused(405, "Pull Request is not mergeable")
        subject = values.get("commit_title") or f"Merge pull request #{number} from {repository.owner}/{pull.head}"
        message = f"{subject}\n\n{values.get('commit_message') or pull.title}\n"
        sha = repository.git("commit-tree", tree, "-p", pull.base_sha, "-p", pull.head_sha, stdin=message).strip()
        if not repository.move(f"refs/heads/{pull.base}", sha, pull.base_sha):
            raise Refused(409, "Base branch was modified. Review and try the merge again.")
        return save(repository, pull, state="closed", closed_at=now(), merged_at=now(), merge_commit_sha=sha)


def _mergeable_shas(repository: Repository, head: str, base: str, **more: str) -> tuple[str, str]:
    """The shas of two branches. Raises `Refused` if there is nothing to merge, or a pull request is open already."""
    branches = repository.branches()
    for name, branch in (("head", head), ("base", base)):
        if branch not in branches:
            raise invalid(name)
    shas = branches[head], branches[base]
    if repository.run("merge-base", *shas).returncode:
        raise _unprocessable(f"The {head} branch has no history in common with {base}", **more)
    if not repository.commits(shas[1], shas[0]):
        raise _unprocessable(f"No commits between {base} and {head}", **more)
    if any(pull.is_open and (pull.head, pull.base) == (head, base) for pull in _stored(repository)):
        raise _unprocessable(f"A pull request already exists for {repository.owner}:{head}.", **more)
    return shas


def _updated(repository: Repository, pull: Pull, branches: dict[str, str]) -> Pull:
    """An open pull request, updated after pushes to its branches: it may have moved, been closed or been merged."""
    head, base = branches.get(pull.head), branches.get(pull.base)
    if (head, base) == (pull.head_sha, pull.base_sha):
        return pull
    ended = {"state": "closed", "closed_at": now()}
    if base is not None and repository.is_ancestor(pull.head_sha, base):
        return save(repository, pull, **ended, merged_at=now(), merge_commit_sha=base)
    if head is None or base is None or repository.is_ancestor(head, base):
        return save(repository, pull, **ended)
    repository.move(f"refs/pull/{pull.number}/head", head)
    return save(repository, pull, head_sha=head, base_sha=base)


def _stored(repository: Repository) -> list[Pull]:
    return [Pull(**values) for values in repository.stored(_FILE)]


def save(repository: Repository, pull: Pull, **changes: Any) -> Pull:
    """Store `pull` with its changes."""
    pull = replace(pull, updated_at=now(), version=pull.version + 1, **changes)
    pulls = {other.number: other for other in _stored(repository)} | {pull.number: pull}
    repository.store(_FILE, [pulls[number] for number in sorted(pulls, reverse=True)])
    return pull


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(422, f"Invalid request.\n\nFor 'properties/{name}', {value!r} is not a string.")
    limit = _MAX_CHARACTERS.get(name)
    if value and limit and len(value) > limit:
        raise _unprocessable(f"{name} is too long (maximum is {limit} characters)", "Issue", field=name)
    return value


def number_of(name: str) -> int:
    """The id of a label or a person, which is derived from the name."""
    return zlib.crc32(name.encode())


def added(present: list[str], names: Iterable[str]) -> list[str]:
    """A list with further names, each of them once."""
    return list(dict.fromkeys([*present, *names]))


def invalid(name: str, code: str = "invalid") -> Refused:
    return Refused(422, "Validation Failed", {"resource": "PullRequest", "field": name, "code": code})


def _unprocessable(message: str, resource: str = "PullRequest", **more: str) -> Refused:
    return Refused(422, "Validation Failed", {"resource": resource, "code": "custom", "message": message, **more})
