"""The providers of models that an agent can be pointed at, by variables of its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

ApiName = Literal["anthropic", "openai", "gemini"]
# The end of a base URL that programs expect, in front of the paths of `apis`.
_ENDINGS: dict[ApiName, str] = {"anthropic": "", "openai": "/v1", "gemini": ""}


@dataclass(frozen=True)
class Provider:
    """A provider of models, and the variables of an agent that name its URL and its keys."""

    api: ApiName
    variable: str
    """The variable with the URL."""
    url: str
    keys: Mapping[str, str] = field(repr=False)
    """The variables with keys, and their values; an empty value where the server needs none."""

    @property
    def host(self) -> str:
        """`host:port` of its server."""
        return host_of(self.url)

    @property
    def prefix(self) -> str:
        """The path that its calls begin with at the gateway. No two providers of an agent have the same variable."""
        return f"/{self.variable.removesuffix('_BASE_URL').lower().replace('_', '-')}{_ENDINGS[self.api]}"


def host_of(url: str) -> str:
    """The `host:port` of a URL."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or (80 if parts.scheme == 'http' else 443)}"
