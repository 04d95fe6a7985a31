"""A purge that is cut off leaves everything there, or a list of what is still to be deleted."""

from __future__ import annotations

import concurrent.futures
import signal

import httpx
import pytest
import sqlalchemy as sa

from app import db
from app.artifacts import Store
from app.models import ArtifactDeletion, Event
from app.services.artifacts import diffs
from tests.deployment import Deployment, wait_for
from tests.faults.conftest import POSTGRES_ONLY
from tests.faults.invariants import store_of
from tests.faults.sessions import assert_done_at_once, start


def stored(store: Store, runner_id: str) -> list[str]:
    return [key for key, _ in store.list(f"{diffs.SESSIONS}/{runner_id}/")]


# The lock that holds the purge back is one of Postgres.
@POSTGRES_ONLY
def test_a_purge_whose_processes_are_killed_is_done_as_a_whole_or_not_at_all(one_deployment: Deployment) -> None:
    deployment = one_deployment
    runner = start(deployment, "purged", "echo done > a.txt")
    assert_done_at_once(deployment, [runner])
    path, store = f"/agent_runners/{runner['id']}", store_of(deployment)
    engine = db.make_engine(deployment.database_url)
    objects = stored(store, runner["id"])
    assert objects

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        with engine.begin() as connection, engine.connect() as observer:
            connection.execute(sa.select(Event.id).where(Event.agent_runner_id == runner["id"]).with_for_update())
            asked = threads.submit(deployment.api.post, f"{deployment.url}/api/v1{path}/purge")
            wait_for("the purge to wait for the lock", lambda: is_held_back(observer))
            deployment.stop("web", signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            asked.result()
    deployment.start_web()
    assert deployment.call("GET", f"{path}/diff") and stored(store, runner["id"]) == objects

    deployment.stop("control", signal.SIGKILL)
    deployment.call("POST", f"{path}/purge")
    assert deployment.api.get(f"{deployment.url}/api/v1{path}").status_code == 404
    assert stored(store, runner["id"]) == objects, "nobody deletes them yet"
    deployment.start("control", "worker", "control")
    wait_for("the artifacts to be deleted", lambda: not stored(store, runner["id"]))
    wait_for("the list to be empty", lambda: not count_listed(engine))
    engine.dispose()


def is_held_back(connection: sa.Connection) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    found = connection.scalar(sa.text(waiting))
    connection.rollback()
    return bool(found)


def count_listed(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.scalars(sa.select(sa.func.count()).select_from(ArtifactDeletion)).one()
