"""Finds, opens and updates the pull request of a runner's branch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from workers.errors import EngineError
from workers.forges.base import CommitStatus, Forge, PullRequest
from workers.job import Credential
from workers.processes.lifeline import Lifeline
from workers.publishing.description import new_description, updated_description

_REFUSED = {
    "forge_auth": "the forge refused the token of the connected account",
    "forge_not_found": "the token of the connected account does not reach this repository",
    # If that is not for the person's sake, it refuses the site as well, and then says so.
    "forge_refused": "the forge does not let that account open it",
    "forge_account_not_found": "the account was disconnected meanwhile",
    "secret_key_changed": "the token of the connected account was encrypted with another key",
}
_CONNECT_AGAIN = "Connect the account again with a token that may open pull requests here."


@dataclass(frozen=True)
class Additions:
    """Labels, reviewers and assignees to add to a pull request, by the names that the forge has for them."""

    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()


@dataclass(frozen=True)
class Opener:
    """The person who asked for a pull request, by the name that the forge has for them, and a token of theirs."""

    login: str
    token: Credential = field(repr=False)


@dataclass(frozen=True)
class PullRequestSpec:
    """The requested pull request. `number` is that of the existing one, if one is known.

    `title`, `body` and `draft` are None if the caller left them out. A new pull request then has the `default_title`,
    is not a draft, and its body is `sessions`, a summary of what was asked for and done. An existing one keeps its
    title and draft state, and only the part of its body that was generated from `sessions` is replaced.
    """

    forge: str
    api_url: str | None
    base: str
    default_title: str
    sessions: str
    before: str = ""
    """What comes before and after the sessions in the body of a new one."""
    after: str = ""
    title: str | None = None
    body: str | None = None
    draft: bool | None = None
    number: int | None = None
    additions: Additions = Additions()
    status: CommitStatus | None = None
    """The status of what is pushed. None: it gets none."""
    token: Credential = field(default="", repr=False)
    opener: Opener | None = None
    """Who opens a new one. Everything else is done with `token`."""


class PullRequestEnded(EngineError):
    """Somebody closed or merged the pull request. A second one is not opened."""

    def __init__(self, pull_request: PullRequest) -> None:
        number, state = pull_request.number, pull_request.state
        remedy = "Reopen it, if the forge allows that, or start" if state == "closed" else "Start"
        message = f"Pull request #{number} is {state} already. {remedy} a new runner to continue."
        super().__init__("pull_request_ended", "publish", message)
        self.pull_request = pull_request


def refuse_ended(found: PullRequest) -> None:
    """Raise `PullRequestEnded` if the pull request is closed or merged."""
    if found.state in ("closed", "merged"):
        raise PullRequestEnded(found)


def open_or_update(
    forge: Forge, as_opener: Callable[[Opener], Forge], spec: PullRequestSpec, branch: str, lifeline: Lifeline
) -> tuple[PullRequest, list[str]]:
    """Open the pull request of the branch, or update the existing one where it differs from `spec`.

    `as_opener` is the same repository as `forge`, with a token of the person who opens one. Returns a sentence, too, if
    that could not be used.
    """
    found = forge.find_pull_request(branch)
    if found is None:
        # If this process was frozen since the lookup, another attempt may have opened one meanwhile.
        lifeline.check()
        try:
            return _open(forge, as_opener, spec, branch)
        except EngineError as error:
            found = forge.find_pull_request(branch) if error.code == "pull_request_exists" else None
            if found is None:
                raise
    refuse_ended(found)
    changes = _changes(found, spec, forge.body_characters)
    if not changes:
        return found, []
    lifeline.check()
    return forge.update_pull_request(found.number, **changes), []


def add_to(forge: Forge, number: int, additions: Additions) -> list[str]:
    """Add labels, reviewers and assignees. Returns a sentence on each that could not be added: the pull request is there
    without it."""
    warnings = []
    for kind, names, add in (
        ("label", additions.labels, forge.add_labels),
        ("reviewer", additions.reviewers, forge.request_reviews),
        ("assignee", additions.assignees, forge.assign),
    ):
        try:
            refused = add(number, names) if names else []
        except EngineError as error:
            warnings.append(f"The {kind}s {', '.join(names)} were not added: {error.message}")
        else:
            warnings += [
                f"The {kind} {name} was not added: the forge does not have it, or refuses it." for name in refused
            ]
    return warnings


def mark(forge: Forge, sha: str, status: CommitStatus | None) -> list[str]:
    """Set the status of the commit that was pushed, if it gets one. Returns a sentence if that failed: the pull request is
    there without it."""
    if status is None:
        return []
    try:
        forge.set_status(sha, status)
    except EngineError as error:
        return [f"The commit status was not set. The token may lack that permission. {error.message}"]
    return []


def _open(
    forge: Forge, as_opener: Callable[[Opener], Forge], spec: PullRequestSpec, branch: str
) -> tuple[PullRequest, list[str]]:
    if spec.opener is None:
        return _create(forge, spec, branch), []
    try:
        return _create(as_opener(spec.opener), spec, branch), []
    except EngineError as error:
        if error.code not in _REFUSED:
            raise
        warning = f"The pull request is not by {spec.opener.login}: {_REFUSED[error.code]}. {_CONNECT_AGAIN}"
        return _create(forge, spec, branch), [warning]


def _create(forge: Forge, spec: PullRequestSpec, branch: str) -> PullRequest:
    return forge.create_pull_request(
        branch=branch,
        base=spec.base,
        title=spec.default_title if spec.title is None else spec.title,
        body=_new_body(spec, forge.body_characters) if spec.body is None else spec.body,
        draft=spec.draft or False,
    )


def _new_body(spec: PullRequestSpec, longest: int) -> str:
    room = longest - len(spec.before) - len(spec.after)
    return f"{spec.before}{new_description(spec.sessions, room)}{spec.after}"


def _changes(found: PullRequest, spec: PullRequestSpec, longest: int) -> dict[str, Any]:
    """The fields of the pull request that differ from `spec`, with their new values."""
    body = updated_description(found.body, spec.sessions, longest) if spec.body is None else spec.body
    wanted = {"title": spec.title, "body": body, "draft": spec.draft}
    current = {"title": found.title, "body": found.body.replace("\r\n", "\n"), "draft": found.state == "draft"}
    return {name: value for name, value in wanted.items() if value is not None and value != current[name]}
