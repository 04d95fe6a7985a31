"""What is known of each kind of forge. A test compares it with the adapters in `workers/forges/registry.py`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.models.states import Forge

_DEFAULT_PORTS = {"https": ":443", "http": ":80"}


@dataclass(frozen=True)
class Capabilities:
    name: str
    """For people."""
    host: str | None = None
    """The public service, whose repositories are recognized by their address."""
    api_url: str | None = None
    """The API of the public service. None: there is none, or each organization has its own."""
    old_domain: str | None = None
    """The end of the hosts that the service had before, one for each organization."""
    git_user: str | None = "x-access-token"
    """The user name for git over HTTPS. Most forges take any name with an access token. None: the token is sent as a bearer
    token, without a name."""
    git_user_for_email: str | None = None
    """The user name for git with an access token that is written as `e-mail:token`. The API takes the address, git does not."""
    api_path: str = ""
    """A pattern for what the address of its API may end with."""
    has_pull_requests: bool = True
    """Whether the engine has an adapter for it."""
    has_issues: bool = True
    """Whether issues on it can start runners."""
    tells_who_may_write: bool = True
    """Whether it says who may write to a repository. If not, only people named in `allowed_people` may ask for something there."""
    delivers_checks: bool = True
    """Whether its webhooks say that checks have ended. If not, they are looked for now and then."""


FORGES = {
    Forge.GITHUB: Capabilities("GitHub", "github.com", "https://api.github.com", api_path="/api/v3"),
    # GitLab takes tokens of OAuth with this name only.
    Forge.GITLAB: Capabilities(
        "GitLab", "gitlab.com", "https://gitlab.com/api/v4", git_user="oauth2", api_path="/api/v4"
    ),
    Forge.GITEA: Capabilities("Forgejo or Gitea", "codeberg.org", "https://codeberg.org/api/v1", api_path="/api/v1"),
    Forge.AZURE_DEVOPS: Capabilities(
        "Azure DevOps",
        "dev.azure.com",
        old_domain=".visualstudio.com",
        has_issues=False,
        tells_who_may_write=False,
    ),
    Forge.BITBUCKET: Capabilities(
        "Bitbucket Cloud",
        "bitbucket.org",
        "https://api.bitbucket.org/2.0",
        git_user="x-token-auth",
        git_user_for_email="x-bitbucket-api-token-auth",
        api_path=r"/2\.0",
        has_issues=False,
    ),
    # A token of a project or a repository belongs to no user:
    # https://confluence.atlassian.com/bitbucketserver/http-access-tokens-939515499.html
    Forge.BITBUCKET_DATA_CENTER: Capabilities(
        "Bitbucket Data Center",
        git_user=None,
        api_path=r"/rest(/api(/[\w.]+)?)?",
        has_issues=False,
        delivers_checks=False,
    ),
    Forge.NONE: Capabilities("Plain git, commits only", has_pull_requests=False),
}


def recognize(repo_url: str) -> Forge:
    """The forge of a public service's repository, and `NONE` for any other."""
    host = (urlsplit(repo_url).hostname or "").lower()
    return next((forge for forge, known in FORGES.items() if host and _is_of(known, host)), Forge.NONE)


def server_of(forge: Forge, api_url: str) -> str:
    """The address of the server, in one spelling, from that of its API: `https://git.example.org` for
    `https://GIT.example.org:443/api/v4/` on GitLab. `workers.forges.servers` has the same rules."""
    parts = urlsplit(api_url)
    place = parts.netloc.lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))
    path = re.sub(rf"({FORGES[forge].api_path})?/*$", "", parts.path.rstrip("/"), count=1)
    return f"{parts.scheme}://{place}{path.lower() if forge == Forge.AZURE_DEVOPS else path}"


def _is_of(known: Capabilities, host: str) -> bool:
    return known.host == host or (known.old_domain is not None and host.endswith(known.old_domain))
