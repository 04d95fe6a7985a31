"""The engine on a repository with Git LFS."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.demo.forge import DemoForge, Repository
from tests.workers.attempts import Engine, engine_in
from tests.workers.engine import SANDBOXES
from tests.workers.lfs.repositories import with_lfs

_numbers = itertools.count(1)


@pytest.fixture
def repository(forge: DemoForge) -> Repository:
    return with_lfs(forge, f"large-{next(_numbers)}")


@pytest.fixture(params=SANDBOXES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path, request.param) as engine:
        protocols = ("https", "http")
        engine.host = replace(engine.host, allowed_protocols=protocols, allow_private_addresses=True)
        yield engine
