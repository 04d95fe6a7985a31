"""The port to a forge: look a pull request up, open or change one. Pushing is git's part and not done here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

State = Literal["open", "closed", "merged", "draft"]


@dataclass(frozen=True)
class PullRequest:
    """One pull request as the forge described it at one moment. A draft is open, but not yet to be merged."""

    number: int
    url: str
    """The page for people."""
    state: State
    branch: str
    base: str
    head_sha: str
    title: str = ""
    body: str = ""


class Forge(Protocol):
    """One repository on one forge, seen with one token.

    Every method raises `EngineError` of the stage `publish` and nothing else:

    * `forge_auth`: the token is unknown, expired, or lacks a permission, which the message names;
    * `forge_unreachable`: no answer, a server error, or a rate limit; retryable;
    * `forge_not_found`: no such repository or pull request, or none that the token may see;
    * `forge_refused`: the forge understood and said no; the message is in its own words.
    """

    def find_pull_request(self, branch: str) -> PullRequest | None:
        """The newest pull request from `branch` of this repository; open ones come first."""

    def get_pull_request(self, number: int) -> PullRequest:
        """The pull request of that number. Raise EngineError `forge_not_found` where there is none."""

    def create_pull_request(self, *, branch: str, base: str, title: str, body: str, draft: bool) -> PullRequest:
        """Open one. Raise EngineError `pull_request_exists` where one is open already: look it up again."""

    def update_pull_request(
        self, number: int, *, title: str | None = None, body: str | None = None, draft: bool | None = None
    ) -> PullRequest:
        """Change what is given and leave the rest; the pull request as it is then."""
