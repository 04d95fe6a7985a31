"""Two deployments, shared by the tests of this folder: SQLite and local files, Postgres and S3."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.deployment import Deployment, deployed
from tests.forges.forge import DemoForge, demo_forge
from tests.postgres import postgres_database
from tests.s3 import s3_server

DATABASES = [pytest.param(name, marks=pytest.mark.xdist_group(f"e2e-{name}")) for name in ("sqlite", "postgres-s3")]


@pytest.fixture(scope="session", params=DATABASES)
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    if request.param == "sqlite":
        with deployed(folder, "", free_port()) as running:
            yield running
    else:
        with (
            postgres_database() as url,
            s3_server(folder / "s3") as s3,
            deployed(folder, url, free_port(), s3.credentials, **s3.settings) as running,
        ):
            yield running


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoForge]:
    with demo_forge(tmp_path_factory.mktemp("forge")) as running:
        yield running


def free_port() -> int:
    """A port that is free, as is the one above it."""
    while True:
        with socket.socket() as one, socket.socket() as next_one:
            one.bind(("127.0.0.1", 0))
            try:
                next_one.bind(("127.0.0.1", one.getsockname()[1] + 1))
            except OSError:
                continue
            return int(one.getsockname()[1])
