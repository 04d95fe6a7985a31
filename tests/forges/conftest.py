"""One forge for all tests, a repository for each; tests that break the forge start one of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forges.forge import DemoForge, demo_forge
from workers.forges.base import Forge, make_forge
from workers.forges.demo.repositories import Repository

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoForge]:
    with demo_forge(tmp_path_factory.mktemp("forge")) as running:
        yield running


@pytest.fixture
def own_forge(tmp_path: Path) -> Iterator[DemoForge]:
    with demo_forge(tmp_path / "forge") as running:
        yield running


@pytest.fixture
def repository(forge: DemoForge) -> Repository:
    """With a branch `feature` that is one commit ahead of `main`."""
    return with_feature(forge)


@pytest.fixture
def github(forge: DemoForge, repository: Repository) -> Forge:
    return adapter(forge, repository)


def with_feature(forge: DemoForge) -> Repository:
    repository = forge.make_repository("acme", f"app-{next(_numbers)}", {"README.md": "# App\n"})
    repository.commit("feature", {"feature.py": "print('new')\n"}, "A feature", start=repository.branches()["main"])
    return repository


def adapter(forge: DemoForge, repository: Repository, token: str | None = None) -> Forge:
    return make_forge("github", forge.clone_url(repository.full_name), None, forge.token if token is None else token)
