"""The adapter for GitHub, on a repository of the demonstration forge, and forges that do less or fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.conftest import own_forge, repository
from tests.demo.forge import DemoForge, Repository, demo_forge
from workers.forges.base import Forge
from workers.forges.registry import make_forge
from workers.job import Host

__all__ = ["own_forge", "repository"]


# Nothing is written there.
HOST = Host(work_dir=Path("unused"), allow_private_addresses=True)


@pytest.fixture
def faulty(forge: DemoForge) -> Iterator[DemoForge]:
    """A forge in which a test may set faults. They end with it."""
    yield forge
    forge.set_faults(down=0, slow_down=0, lost_answers=0, revoked=False, holds=[])


@pytest.fixture(scope="session")
def without_drafts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoForge]:
    """One that knows no drafts. What uses it is to be in the group `without-drafts`."""
    with demo_forge(tmp_path_factory.mktemp("forge"), "--no-drafts") as running:
        yield running


@pytest.fixture
def github(forge: DemoForge, repository: Repository) -> Forge:
    return adapter(forge, repository)


def adapter(forge: DemoForge, repository: Repository, token: str | None = None) -> Forge:
    url = forge.clone_url(repository.full_name)
    return make_forge("github", url, None, forge.token if token is None else token, HOST)
