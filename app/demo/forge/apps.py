"""A GitHub App that is registered with the forge, where it is installed, and the tokens that it makes.

The file `app.json` below the forge's root describes it. Without the file there is none.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FILE = "app.json"
_LEVELS = ("read", "write", "admin")
_LONGEST_JWT_SECONDS = 600


@dataclass(frozen=True)
class Installation:
    """`repositories` are names. None: all of the owner's."""

    id: int
    owner: str
    permissions: Mapping[str, str]
    repositories: list[str] | None = None
    suspended: bool = False

    def includes(self, owner: str, name: str) -> bool:
        names = self.repositories
        return owner.lower() == self.owner.lower() and (names is None or name.lower() in map(str.lower, names))


@dataclass(frozen=True)
class App:
    id: str
    public_key: str
    """In PEM form."""
    permissions: Mapping[str, str]
    installations: list[Installation]
    token_seconds: float = 3600.0

    def accepts(self, signed: str) -> bool:
        """Whether this is a JSON web token of the App: signed with its key, by its id, and for ten minutes at most.

        https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
        """
        # It takes a while to import, and only forges with an App need it.
        import jwt

        try:
            options: Any = {"require": ["exp", "iat", "iss"]}
            claims = jwt.decode(signed, self.public_key, ["RS256"], options=options, issuer=self.id)
        except jwt.PyJWTError:
            return False
        return bool(claims["exp"] <= time.time() + _LONGEST_JWT_SECONDS)


@dataclass(frozen=True)
class Minted:
    """A token of an installation."""

    installation: Installation
    names: list[str] | None
    permissions: Mapping[str, str]
    expires_at: float
    token: str = field(default_factory=lambda: f"ghs_{secrets.token_hex(18)}", repr=False)

    def reaches(self, owner: str, name: str) -> bool:
        """Whether it is for this repository."""
        return self.installation.includes(owner, name) and (self.names is None or name in self.names)

    def may(self, level: str, *areas: str) -> bool:
        """Whether it has the permission in one of the areas."""
        return any(holds(self.permissions, {area: level}) for area in areas)


def load(root: Path) -> App | None:
    """The App of the forge whose repositories are below `root`, if there is one."""
    path = root / _FILE
    if not path.exists():
        return None
    stored = json.loads(path.read_text())
    return App(**{**stored, "installations": [Installation(**each) for each in stored["installations"]]})


def holds(granted: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    """Whether the permissions include those that are asked for."""
    return all(granted.get(area) in _LEVELS[_LEVELS.index(level) :] for area, level in asked.items())


def mint(app: App, installation: Installation, names: Iterable[str] | None, permissions: Mapping[str, str]) -> Minted:
    """A token for the named repositories (None: all of the installation) with these permissions."""
    kept = None if names is None else list(names)
    # Every token may read what is public of a repository's settings.
    return Minted(installation, kept, {"metadata": "read", **permissions}, time.time() + app.token_seconds)
