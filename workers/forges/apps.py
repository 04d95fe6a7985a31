"""An App of the operator, and what its tokens are for. The tokens are made by `github_app.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class GitHubApp:
    """An App, and the server where it is registered."""

    id: str
    key_file: Path
    url: str


@dataclass(frozen=True)
class Use:
    """What a token is for: the permissions that it must have, and those that it gets if the App has them."""

    needed: Mapping[str, str]
    wanted: Mapping[str, str] = field(default_factory=dict)


FETCH = Use({"contents": "read"})
# A change of a workflow cannot be pushed without the second one.
PUSH = Use({"contents": "write"}, {"workflows": "write"})
# Without the first one, GitHub does not turn a draft into a pull request.
PULL_REQUESTS = Use({"contents": "write", "pull_requests": "write"}, {"issues": "write"})
PULL_REQUESTS_WITH_STATUS = Use(PULL_REQUESTS.needed, {**PULL_REQUESTS.wanted, "statuses": "write"})
READ_PULL_REQUESTS = Use({"pull_requests": "read"})
COMMENTS = Use({"pull_requests": "write"}, {"issues": "write"})
CHECKS = Use({"checks": "read", "statuses": "read"}, {"actions": "read"})
ISSUES = Use({"issues": "write"}, {"pull_requests": "write"})
