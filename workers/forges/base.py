"""The port for forges: find, open and change pull requests. Pushing is done with git, not here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import urlsplit

from workers.errors import EngineError

State = Literal["open", "closed", "merged", "draft"]


@dataclass(frozen=True)
class PullRequest:
    """A pull request, as returned by the forge. A draft is open, but not ready to merge."""

    number: int
    url: str
    """The web page."""
    state: State
    branch: str
    base: str
    head_sha: str
    title: str = ""
    body: str = ""


# A number is stored as a 32-bit integer, a URL in 2,000 characters. GitLab has the longest descriptions.
_MAX_NUMBER, _MAX_URL, _MAX_NAME, _MAX_TITLE, _MAX_BODY = 2**31 - 1, 2_000, 1_000, 10_000, 1_048_576


def checked(pull_request: PullRequest) -> PullRequest:
    """The pull request itself, if every value is what it should be: a forge can answer anything.

    Raises EngineError `forge_refused`, which names the wrong value without quoting it.
    """
    wrong = next(_wrong_values(pull_request), None)
    if wrong:
        message = f"The forge answered with a pull request that is not valid: {wrong}. Check the site's forge and forge_api_url."
        raise EngineError("forge_refused", "publish", message)
    return pull_request


def _wrong_values(pull_request: PullRequest) -> Iterator[str]:
    """Values come from JSON, so they may have any type."""
    number = pull_request.number
    if type(number) is not int or not 0 < number <= _MAX_NUMBER:
        yield "its number is not a positive integer"
    if not is_web_page(pull_request.url):
        yield "its URL is not an http:// or https:// URL"
    for name, longest in (("branch", _MAX_NAME), ("base", _MAX_NAME), ("title", _MAX_TITLE), ("body", _MAX_BODY)):
        text = getattr(pull_request, name)
        if not isinstance(text, str):
            yield f"its {name} is not a text"
        elif len(text) > longest:
            yield f"its {name} has more than {longest:,} characters"
    if not isinstance(pull_request.head_sha, str) or not re.fullmatch(
        r"[0-9a-f]{40}|[0-9a-f]{64}", pull_request.head_sha
    ):
        yield "its commit is not a commit id"


def is_web_page(url: object) -> bool:
    """Whether something from a forge is a URL that a person may be sent to."""
    if not isinstance(url, str) or len(url) > _MAX_URL or not re.fullmatch(r"[\x21-\x7e]+", url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None


@dataclass(frozen=True)
class CommitStatus:
    """What is shown beside a commit: that it was made here, and where that can be looked at."""

    url: str
    description: str


STATUS_NAME = "agent-runners"
"""The name of our statuses, which are no checks."""


class Forge(Protocol):
    """One repository on one forge, used with one token.

    Every method raises only `EngineError` with the stage `publish`:

    * `forge_auth`: the token is invalid, expired, or lacks a permission; the message names the permissions it needs;
    * `forge_unreachable`: no answer, a server error, or a rate limit; retryable;
    * `forge_not_found`: the repository or pull request does not exist, or the token may not see it;
    * `forge_refused`: the forge rejected the request; the message quotes its reason.

    Titles and bodies that are too long for the forge are shortened. Where a forge marks drafts in their titles, titles
    are given and returned without the mark.
    """

    body_characters: int
    """The longest body."""

    def find_pull_request(self, branch: str) -> PullRequest | None:
        """The newest pull request from `branch` of this repository. Open ones come first."""

    def get_pull_request(self, number: int) -> PullRequest:
        """The pull request with that number. Raises EngineError `forge_not_found` if there is none."""

    def create_pull_request(self, *, branch: str, base: str, title: str, body: str, draft: bool) -> PullRequest:
        """Open a pull request. Raises EngineError `pull_request_exists` if one is already open: find that one."""

    def update_pull_request(
        self, number: int, *, title: str | None = None, body: str | None = None, draft: bool | None = None
    ) -> PullRequest:
        """Change the given fields and return the changed pull request."""

    def add_labels(self, number: int, names: Sequence[str]) -> list[str]:
        """Add labels that the forge has to a pull request; those of the names that it does not have. None is created."""

    def request_reviews(self, number: int, names: Sequence[str]) -> list[str]:
        """Request reviews of people, and of teams where a name is that of one. Returns the names that are refused."""

    def assign(self, number: int, names: Sequence[str]) -> list[str]:
        """Assign people to a pull request, besides those who are already. Returns the names that are refused."""

    def set_status(self, sha: str, status: CommitStatus) -> None:
        """Show a status that has passed, with the name `STATUS_NAME`, beside a commit."""
