"""The supported forges. To add one, write a module in this package and add a line to `ADAPTERS`.

The API offers pull requests on those that `app/services/sites/forges.py` says have them; a test compares both.
"""

from __future__ import annotations

import importlib
from typing import cast

from workers.errors import EngineError
from workers.forges.base import Forge
from workers.forges.http import DEFAULT_LIMITS, Limits
from workers.job import Host

# Imported on first use: the client libraries are slow to import, and most processes do not publish.
ADAPTERS = {"github": ("workers.forges.github", "GitHub")}


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
