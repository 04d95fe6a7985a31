"""The supported forges. To add one, write a module in this package and add a line to `ADAPTERS`.

The API offers pull requests on those that `app/services/sites/forges.py` says have them; a test compares both.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from workers.errors import EngineError
from workers.forges.base import Forge
from workers.forges.checks import Checks
from workers.forges.discussions import Discussions
from workers.forges.http import DEFAULT_LIMITS, Limits
from workers.forges.issues import Issues
from workers.job import Credential, Host

# Imported on first use: the client libraries are slow to import, and most processes do not publish.
ADAPTERS = {
    "github": ("workers.forges.github", "GitHub"),
    "gitlab": ("workers.forges.gitlab", "GitLab"),
    "gitea": ("workers.forges.gitea", "Gitea"),
    "bitbucket": ("workers.forges.bitbucket", "Bitbucket"),
    "azure_devops": ("workers.forges.azure_devops", "AzureDevOps"),
    "bitbucket_data_center": ("workers.forges.bitbucket_data_center", "BitbucketDataCenter"),
}
DISCUSSIONS = {
    "github": ("workers.forges.github_discussions", "GitHubDiscussions"),
    "gitlab": ("workers.forges.gitlab_discussions", "GitLabDiscussions"),
    "gitea": ("workers.forges.gitea_discussions", "GiteaDiscussions"),
    "bitbucket": ("workers.forges.bitbucket_discussions", "BitbucketDiscussions"),
    "azure_devops": ("workers.forges.azure_discussions", "AzureDiscussions"),
    "bitbucket_data_center": ("workers.forges.bitbucket_data_center_discussions", "BitbucketDataCenterDiscussions"),
}
"""The forges whose comments and reviews are followed."""
CHECKS = {
    "github": ("workers.forges.github_checks", "GitHubChecks"),
    "gitlab": ("workers.forges.gitlab_checks", "GitLabChecks"),
    "gitea": ("workers.forges.gitea_checks", "GiteaChecks"),
    "bitbucket": ("workers.forges.bitbucket_checks", "BitbucketChecks"),
    "azure_devops": ("workers.forges.azure_checks", "AzureChecks"),
    "bitbucket_data_center": ("workers.forges.bitbucket_data_center_checks", "BitbucketDataCenterChecks"),
}
"""The forges whose checks are followed."""
ISSUES = {
    "github": ("workers.forges.github_issues", "GitHubIssues"),
    "gitlab": ("workers.forges.gitlab_issues", "GitLabIssues"),
    "gitea": ("workers.forges.gitea_issues", "GiteaIssues"),
}
"""The forges whose issues start runners."""
Port = TypeVar("Port")


@dataclass(frozen=True)
class _Factory(Generic[Port]):
    """Makes the adapter of a port for the forge `kind`, with its API at `api_url` (None: the default of that kind).

    The token is made here, and the name of the API's server resolved and judged, see `Client`. Raises EngineError, `forge_unsupported` if
    there is no such adapter.
    """

    adapters: Mapping[str, tuple[str, str]]

    def __call__(
        self,
        kind: str,
        repo_url: str,
        api_url: str | None,
        token: Credential,
        host: Host,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Port:
        if kind not in self.adapters:
            message = f"Pull requests on {kind!r} are not supported. Supported forges: {', '.join(self.adapters)}."
            raise EngineError("forge_unsupported", "publish", message)
        module, name = self.adapters[kind]
        token = token if isinstance(token, str) else token()
        return cast(Port, getattr(importlib.import_module(module), name)(repo_url, api_url, token, host, limits))


make_forge = _Factory[Forge](ADAPTERS)
make_discussions = _Factory[Discussions](DISCUSSIONS)
make_checks = _Factory[Checks](CHECKS)
make_issues = _Factory[Issues](ISSUES)
