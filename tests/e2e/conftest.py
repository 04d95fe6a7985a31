"""Two deployments, shared by the tests of this folder: SQLite and local files, Postgres and S3."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.demo.forge import DemoForge, demo_forge
from tests.deployment import Deployment, deployed, free_port
from tests.matrix import usual
from tests.postgres import postgres_database
from tests.s3 import s3_server

SETTINGS = {"MIRROR_REFRESH_SECONDS": "600"}
_KINDS = ("sqlite", "postgres-s3")
DATABASES = usual([pytest.param(name, marks=pytest.mark.xdist_group(f"e2e-{name}")) for name in _KINDS])


@pytest.fixture(scope="session", params=DATABASES)
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    if request.param == "sqlite":
        with deployed(folder, "", free_port(), **SETTINGS) as running:
            yield running
    else:
        with (
            postgres_database() as url,
            s3_server(folder / "s3") as s3,
            deployed(folder, url, free_port(), s3.credentials, **s3.settings, **SETTINGS) as running,
        ):
            yield running


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoForge]:
    with demo_forge(tmp_path_factory.mktemp("forge")) as running:
        yield running
