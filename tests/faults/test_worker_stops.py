"""Workers that are stopped while their processes are frozen: they end within their bound, and nothing of them stays."""

from __future__ import annotations

import contextlib

import psutil
import pytest

from tests.deployment import Deployment, wait_for
from tests.faults.conftest import POSTGRES_ONLY

pytestmark = pytest.mark.timeout(900)

PROCESSES = {"control": 4, "sweep": 2}
"""Those of the pool, and the clock of a worker that sweeps."""


@POSTGRES_ONLY
@pytest.mark.parametrize("queue", [*PROCESSES])
def test_a_worker_whose_processes_are_frozen_ends_and_leaves_none(one_deployment: Deployment, queue: str) -> None:
    deployment, name = one_deployment, f"frozen-{queue}"
    worker = psutil.Process(deployment.start(name, "worker", queue, "--name", name).pid)

    def below() -> list[psutil.Process]:
        """Its processes, without the fork server of the engine."""
        found = []
        for child in worker.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.name() != "fork-server":
                    found.append(child)
        return found

    wait_for("its processes", lambda: len(below()) == PROCESSES[queue])
    frozen = below()
    for process in frozen:
        process.suspend()

    deployment.stop(name)

    wait_for("the end of its processes", lambda: not any(process.is_running() for process in frozen))
    said = deployment.log(name)
    assert "process_killed" in said
    assert "worker_stop_timed_out" not in said
