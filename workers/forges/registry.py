"""The supported forges. To add one, write a module in this package and add a line to `ADAPTERS`.

The API offers pull requests on those that `app/services/sites/forges.py` says have them; a test compares both.
"""

from __future__ import annotations

import importlib
from typing import cast

from workers.errors import EngineError
from workers.forges.base import Forge
from workers.forges.checks import Checks
from workers.forges.discussions import Discussions
from workers.forges.http import DEFAULT_LIMITS, Limits
from workers.forges.issues import Issues
from workers.job import Host

# Imported on first use: the client libraries are slow to import, and most processes do not publish.
ADAPTERS = {
    "github": ("workers.forges.github", "GitHub"),
    "gitlab": ("workers.forges.gitlab", "GitLab"),
    "gitea": ("workers.forges.gitea", "Gitea"),
}
DISCUSSIONS = {
    "github": ("workers.forges.github_discussions", "GitHubDiscussions"),
    "gitlab": ("workers.forges.gitlab_discussions", "GitLabDiscussions"),
    "gitea": ("workers.forges.gitea_discussions", "GiteaDiscussions"),
}
"""The forges whose comments and reviews are followed."""
CHECKS = {
    "github": ("workers.forges.github_checks", "GitHubChecks"),
    "gitlab": ("workers.forges.gitlab_checks", "GitLabChecks"),
}
"""The forges whose checks are followed."""
ISSUES = {"github": ("workers.forges.github_issues", "GitHubIssues")}
"""The forges whose issues start runners."""


def make_forge(
    kind: str, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits = DEFAULT_LIMITS
) -> Forge:
    """The adapter for `kind`, with its API at `api_url` (None: the default of that kind).

    The name of the API's server is resolved and judged here, see `Client`. Raises EngineError, `forge_unsupported` if
    there is no such adapter.
    """
    if kind not in ADAPTERS:
        message = f"Pull requests on {kind!r} are not supported. Supported forges: {', '.join(ADAPTERS)}."
        raise EngineError("forge_unsupported", "publish", message)
    module, name = ADAPTERS[kind]
    return cast(Forge, getattr(importlib.import_module(module), name)(repo_url, api_url, token, host, limits))


def make_discussions(
    kind: str, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits = DEFAULT_LIMITS
) -> Discussions:
    """What people write on `kind`. The arguments and errors are those of `make_forge`."""
    module, name = DISCUSSIONS[kind]
    return cast(Discussions, getattr(importlib.import_module(module), name)(repo_url, api_url, token, host, limits))


def make_checks(
    kind: str, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits = DEFAULT_LIMITS
) -> Checks:
    """The checks on `kind`. The arguments and errors are those of `make_forge`."""
    module, name = CHECKS[kind]
    return cast(Checks, getattr(importlib.import_module(module), name)(repo_url, api_url, token, host, limits))


def make_issues(
    kind: str, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits = DEFAULT_LIMITS
) -> Issues:
    """The issues on `kind`. The arguments and errors are those of `make_forge`."""
    module, name = ISSUES[kind]
    return cast(Issues, getattr(importlib.import_module(module), name)(repo_url, api_url, token, host, limits))
