"""The adapter for GitHub, on a repository of the demonstration forge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.demo.conftest import forge, own_forge, repository
from tests.demo.forge import DemoForge, Repository
from workers.forges.base import Forge
from workers.forges.registry import make_forge
from workers.job import Host

__all__ = ["forge", "own_forge", "repository"]


# Nothing is written there.
HOST = Host(work_dir=Path("unused"), allow_private_addresses=True)


@pytest.fixture
def github(forge: DemoForge, repository: Repository) -> Forge:
    return adapter(forge, repository)


def adapter(forge: DemoForge, repository: Repository, token: str | None = None) -> Forge:
    url = forge.clone_url(repository.full_name)
    return make_forge("github", url, None, forge.token if token is None else token, HOST)
