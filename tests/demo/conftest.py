"""One forge for all tests, with a repository for each. Tests that inject faults start their own forge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import folder
from tests.demo.forge import DemoForge, Repository, demo_forge, with_feature

__all__ = ["folder", "forge", "own_forge", "repository"]


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
