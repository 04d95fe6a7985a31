"""Which commit of a repository is wanted, and what was found."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from workers.job import Credential


class CommitRequest(Protocol):
    """Which commit of which repository is wanted. `Job` is one. `base_sha` wins over `sha`, and `sha` over the tip of
    the branch. Without a `branch`, it is the remote's default branch."""

    @property
    def repo_url(self) -> str: ...
    @property
    def credential(self) -> Credential | None: ...
    @property
    def branch(self) -> str | None: ...
    @property
    def sha(self) -> str | None: ...
    @property
    def base_sha(self) -> str | None: ...
    @property
    def partial_clone(self) -> bool: ...


class Base(NamedTuple):
    """The base of an attempt: a commit that is in the mirror and stays there, and the branch that was asked for."""

    sha: str
    branch: str
