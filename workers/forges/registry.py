"""The supported forges. To add one, write a module in this package and add a line to `_ADAPTERS`.

Which kinds of forges the API offers pull requests on is `WITH_PULL_REQUESTS` in `app/services/publishing`.
"""

from __future__ import annotations

import importlib
from typing import cast

from workers.errors import EngineError
from workers.forges.base import Forge

# Imported on first use: the client libraries are slow to import, and most processes do not publish.
_ADAPTERS = {"github": ("workers.forges.github", "GitHub")}


def make_forge(kind: str, repo_url: str, api_url: str | None, token: str) -> Forge:
    """The adapter for `kind`, with its API at `api_url` (None: the default of that kind).

    Raises EngineError `forge_unsupported` if there is no such adapter.
    """
    if kind not in _ADAPTERS:
        message = f"Pull requests on {kind!r} are not supported. Supported forges: {', '.join(_ADAPTERS)}."
        raise EngineError("forge_unsupported", "publish", message)
    module, name = _ADAPTERS[kind]
    return cast(Forge, getattr(importlib.import_module(module), name)(repo_url, api_url, token))
