"""Two deployments, shared by most tests of this folder: SQLite and local files, Postgres and S3."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import patiently
from tests.cli.conftest import folder, migrated, new_deployment
from tests.demo.forge import DemoForge, demo_forge
from tests.deployment import Deployment, deployed, wait_for
from tests.matrix import usual
from tests.ports import free_port
from tests.postgres import postgres_database
from tests.s3 import s3_server

__all__ = ["folder", "migrated", "new_deployment"]
_KINDS = ("sqlite", "postgres-s3")
OBLIGING = "obliging"
"""An agent that reads its prompt and needs no model."""
AGENTS = {
    "AGENTS": f"shell,scripted,claude,codex,{OBLIGING}",
    "ACP_AGENTS": f"{OBLIGING}={sys.executable} -I -S {Path(__file__).with_name('obliging_agent.py')}",
}
DATABASES = usual([pytest.param(name, marks=pytest.mark.xdist_group(f"e2e-{name}")) for name in _KINDS])


@pytest.fixture(scope="session", params=DATABASES)
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    path = tmp_path_factory.mktemp("deployment")
    if request.param == "sqlite":
        with deployed(path, "", free_port(), forked=True, **AGENTS) as running:
            yield running
    else:
        with (
            postgres_database() as url,
            s3_server(path / "s3") as s3,
            deployed(path, url, free_port(), s3.credentials, forked=True, **AGENTS, **s3.settings) as running,
        ):
            yield running


@pytest.fixture(scope="session")
def mcp_url(deployment: Deployment) -> str:
    """The URL at which the deployment serves the Model Context Protocol."""
    url = f"http://127.0.0.1:{deployment.settings['MCP_PORT']}"
    deployment.start("mcp", "mcp", "--http")
    wait_for("the server of the protocol", lambda: patiently.get(f"{url}/healthz").is_success)
    return f"{url}/mcp"


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoForge]:
    with demo_forge(tmp_path_factory.mktemp("forge")) as running:
        yield running
