"""A short folder: a unix socket's path has room for about 100 characters. And one with a deployment's data in it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.processes import run


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ar-cli-") as path:
        yield Path(path)


@pytest.fixture(scope="session")
def new_deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a deployment after `agent-runners migrate`, to be copied: there are many migrations."""
    path = tmp_path_factory.mktemp("new")
    assert run(path, "migrate").returncode == 0
    return path / "data"


@pytest.fixture
def migrated(folder: Path, new_deployment: Path) -> Path:
    """A folder with what `agent-runners migrate` leaves in it."""
    shutil.copytree(new_deployment, folder / "data")
    return folder


@pytest.fixture
def initialized(migrated: Path) -> Path:
    """A folder in which `agent-runners init` was run, too."""
    assert run(migrated, "init").returncode == 0
    return migrated
