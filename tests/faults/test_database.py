"""A database that dies and comes back while sessions run."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest

from tests import postgres
from tests.deployment import Deployment, wait_for
from tests.faults.conftest import SLOW, WORKERS
from tests.faults.sessions import start

pytestmark = SLOW


@pytest.fixture
def revived() -> Iterator[None]:
    """The server is there again after the test, whatever became of it."""
    yield
    postgres.start_server()


@pytest.mark.usefixtures("revived")
@pytest.mark.parametrize(
    ("lease_seconds", "down_seconds"), [(60, 3), (6, 12)], ids=["for-less-than-a-lease", "for-longer-than-a-lease"]
)
def test_a_session_survives_a_database_that_is_killed(
    one_deployment: Deployment, lease_seconds: int, down_seconds: int
) -> None:
    deployment = one_deployment
    for name in WORKERS:
        deployment.stop(name)
    deployment.start_worker("leased", LEASE_SECONDS=str(lease_seconds))
    marker = deployment.folder / f"mark-{uuid.uuid4().hex}"
    script = f"echo begun; until test -e {marker}; do sleep 0.2; done; echo done > a.txt"
    runner = start(deployment, f"database-{down_seconds}", script)
    deployment.has_step(runner, "begun")

    postgres.kill_server()
    assert deployment.api.get("/agent_runners").status_code >= 500
    time.sleep(down_seconds)
    postgres.start_server()

    wait_for("the API", lambda: deployment.api.get("/agent_runners").is_success)
    meanwhile = deployment.run({"id": runner["site_id"]}, "echo done > a.txt")
    marker.touch()
    for each in (runner, meanwhile):
        session = deployment.ended(each)
        assert session["state"] == "DONE", session["failure"]
        assert "+done" in deployment.diff(each, session, "result")
    if down_seconds < lease_seconds:
        assert deployment.session(runner)["attempt"] == 1
