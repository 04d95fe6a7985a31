"""What is known of each kind of forge. A test compares it with the adapters in `workers/forges/registry.py`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from app.models.states import Forge


@dataclass(frozen=True)
class Capabilities:
    host: str | None = None
    """The public service, whose repositories are recognized by their address."""
    has_pull_requests: bool = False
    """Whether the engine has an adapter for it."""


FORGES = {
    Forge.GITHUB: Capabilities("github.com", has_pull_requests=True),
    Forge.GITLAB: Capabilities("gitlab.com"),
    Forge.GITEA: Capabilities(),
    Forge.BITBUCKET: Capabilities("bitbucket.org"),
    Forge.NONE: Capabilities(),
}


def recognize(repo_url: str) -> Forge:
    """The forge of a public service's repository, and `NONE` for any other."""
    host = (urlsplit(repo_url).hostname or "").lower()
    return next((forge for forge, known in FORGES.items() if host and known.host == host), Forge.NONE)
