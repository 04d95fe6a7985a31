"""The port for forges: find, open and change pull requests. Pushing is done with git, not here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

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


class Forge(Protocol):
    """One repository on one forge, used with one token.

    Every method raises only `EngineError` with the stage `publish`:

    * `forge_auth`: the token is invalid, expired, or lacks a permission; the message names the permissions it needs;
    * `forge_unreachable`: no answer, a server error, or a rate limit; retryable;
    * `forge_not_found`: the repository or pull request does not exist, or the token may not see it;
    * `forge_refused`: the forge rejected the request; the message quotes its reason.
    """

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
