"""Workers that are stopped while their processes are frozen: they end within their bound, and nothing of them stays."""

from __future__ import annotations

import psutil
import pytest

from tests.deployment import Deployment, wait_for
from tests.faults.conftest import POSTGRES_ONLY

PROCESSES = {"control": 4, "sweep": 2}
"""Those of the pool, and the clock of a worker that sweeps."""
FORK_SERVERS = {"control": 1, "sweep": 0}


@POSTGRES_ONLY
@pytest.mark.parametrize("queue", [*PROCESSES])
def test_a_worker_whose_processes_are_frozen_ends_and_leaves_none(one_deployment: Deployment, queue: str) -> None:
    deployment, name = one_deployment, f"frozen-{queue}"
    worker = psutil.Process(deployment.start(name, "worker", queue, "--name", name).pid)

    def pool() -> list[psutil.Process]:
        """Its processes without the engine's fork server, once all have started. Until then that has no name of its own."""
        children = {child: child.name() for child in worker.children()}
        found = [child for child, name in children.items() if name != "fork-server"]
        is_complete = len(found) == PROCESSES[queue] and len(children) == PROCESSES[queue] + FORK_SERVERS[queue]
        return found if is_complete else []

    frozen = wait_for("its processes", pool)
    for process in frozen:
        process.suspend()

    deployment.stop(name)

    wait_for("the end of its processes", lambda: not any(process.is_running() for process in frozen))
    said = deployment.log(name)
    assert "process_killed" in said
    assert "worker_stop_timed_out" not in said
