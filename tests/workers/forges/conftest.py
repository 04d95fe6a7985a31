"""The adapter for GitHub, on a repository of the demonstration forge."""

from __future__ import annotations

import pytest

from tests.demo.conftest import forge, own_forge, repository
from tests.demo.forge import DemoForge, Repository
from workers.forges.base import Forge
from workers.forges.registry import make_forge

__all__ = ["forge", "own_forge", "repository"]


@pytest.fixture
def github(forge: DemoForge, repository: Repository) -> Forge:
    return adapter(forge, repository)


def adapter(forge: DemoForge, repository: Repository, token: str | None = None) -> Forge:
    return make_forge("github", forge.clone_url(repository.full_name), None, forge.token if token is None else token)
