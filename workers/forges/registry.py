"""Which forges there are. A new one is one file beside this one and one line here."""

from __future__ import annotations

import importlib
from typing import cast

from workers.errors import EngineError
from workers.forges.base import Forge

# An adapter's client takes long to import; processes that publish nothing should not pay for it.
_ADAPTERS = {"github": ("workers.forges.github", "GitHub")}


def make_forge(kind: str, repo_url: str, api_url: str | None, token: str) -> Forge:
    """The adapter for `kind`, whose API is at `api_url` (None: where that kind has it by default).

    Raise EngineError `forge_unsupported` where there is none.
    """
    if kind not in _ADAPTERS:
        message = f"Pull requests on {kind!r} are not supported. Supported forges: {', '.join(_ADAPTERS)}."
        raise EngineError("forge_unsupported", "publish", message)
    module, name = _ADAPTERS[kind]
    return cast(Forge, getattr(importlib.import_module(module), name)(repo_url, api_url, token))
