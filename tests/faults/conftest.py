"""Deployments with two session workers and two that sweep, shared by the tests of this folder: SQLite and local files, Postgres and S3.

Each test takes one with everything running; workers that it stopped are started again after it, and those that it
started are ended. What must hold after any fault is checked after each.
"""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.deployment import Deployment, deployed
from tests.faults import invariants
from tests.faults.staging import path_with_git_that_stops
from tests.matrix import usual
from tests.ports import free_port
from tests.postgres import postgres_database
from tests.s3 import S3Server, s3_server
from tests.services.conftest import ada, ask, site

__all__ = ["ada", "ask", "site"]
# Tests stop many publications of one account at once.
SHORT = {
    "REDISPATCH_SECONDS": "1",
    # Two sweep, and each sweep takes a thirtieth of a second of the processors.
    "SWEEP_SECONDS": "4",
    "AGENTS": "shell",
    "MAX_ACCOUNT_CONTROL_TASKS": "20",
}
WORKERS = ("sessions-1", "sessions-2")
KNOWN: defaultdict[str, set[str]] = defaultdict(set)
"""What was checked before of each deployment, by its URL."""
ALWAYS = {"broker", "web", "sweep", "sweep-2", "control", *WORKERS}


def double(deployment: Deployment) -> None:
    """Two workers of each kind whose work more than one may do at once."""
    deployment.start_worker("sessions-2")
    deployment.start("sweep-2", "worker", "sweep", "--name", "sweep-2")


@pytest.fixture(scope="session")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("sqlite")
    with deployed(folder, "", free_port(), path_with_git_that_stops(folder), forked=True, **SHORT) as running:
        double(running)
        yield running
        invariants.check_all(running)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3") / "server") as server:
        yield server


@pytest.fixture(scope="session")
def on_postgres(tmp_path_factory: pytest.TempPathFactory, s3: S3Server) -> Iterator[Deployment]:
    folder, settings = tmp_path_factory.mktemp("postgres"), {**SHORT, **s3.settings}
    variables = {**s3.credentials, **path_with_git_that_stops(folder)}
    with (
        postgres_database() as url,
        deployed(folder, url, free_port(), variables, forked=True, **settings) as running,
    ):
        double(running)
        yield running
        invariants.check_all(running)


# Those that wait for minutes have a deployment of their own, beside the others, and so have those of one kind only. Each
# deployment has about as much to do, so a few of the latter are beside those that wait.
SLOW = pytest.mark.xdist_group("faults-slow")
POSTGRES_ONLY = pytest.mark.xdist_group("faults-postgres-only")
BOTH = [pytest.param(name, marks=pytest.mark.xdist_group(f"faults-{name}")) for name in ("on_sqlite", "on_postgres")]
# For faults of what does not depend on the database: on one of both, and with `--full` on the other as well.
ON_SQLITE = pytest.mark.parametrize("deployment", usual(BOTH), indirect=True)
ON_POSTGRES = pytest.mark.parametrize("deployment", usual(BOTH[::-1]), indirect=True)


@pytest.fixture(params=BOTH)
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """A deployment of each kind, unless the test says of which."""
    yield from checked(request.getfixturevalue(request.param))


@pytest.fixture
def one_deployment(on_postgres: Deployment) -> Iterator[Deployment]:
    """The one on Postgres, in whatever group the test is."""
    yield from checked(on_postgres)


def checked(deployment: Deployment) -> Iterator[Deployment]:
    """The deployment, and after the test what must hold of it."""
    yield deployment
    for name in set(deployment.processes) - ALWAYS:
        deployment.stop(name, signal.SIGKILL)
    for name in WORKERS:
        if name not in deployment.processes:
            deployment.start_worker(name)
    invariants.check(deployment, KNOWN[deployment.url])
