"""P8: how long after DELETE the last process of a stubborn agent has ended, with the revoke and without it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psutil

from bench.bare_worker import BareWorker, wait_for_end
from bench.deployments import deployment, small_repository
from bench.figures import Figure, Samples, Size, at_most
from tests.deployment import Deployment, processes_with, seconds_to_sleep, wait_for

STUBBORN = "trap '' TERM HUP INT; (setsid sh -c 'trap \"\" TERM; exec sleep {0}' &); echo kept > f0.txt; sleep {0}"


def measure(size: Size) -> Iterator[Figure]:
    """DELETE until no process of the agent is left, beside the revoke of a bare Celery task."""
    bare, revoked, lost = [], [], []
    with deployment() as deployed:
        deployed.start_worker("sessions-1")
        site = deployed.make_site(small_repository(deployed))
        worker = BareWorker(deployed)
        for _ in range(size.pick(1, 12, 150)):
            bare.append(worker.revoke() * 1000)
            revoked.append(stop(deployed, site, lost=False) * 1000)
        for _ in range(size.pick(0, 1, 6)):
            lost.append(stop(deployed, site, lost=True))
    anchor = Samples("bare Celery task, revoked", bare)
    goals = [at_most(50), at_most(1.2, "p99", times_anchor=True), at_most(1000, "p99")]
    yield Figure("DELETE until no process is left", "ms", revoked, anchor, goals)
    if lost:
        yield Figure("the same with the revoke lost", "s", lost, goals=[at_most(20, "p99")])


def stop(deployed: Deployment, site: dict[str, Any], *, lost: bool) -> float:
    """Seconds. Without the revoke, which needs the broker, the worker notices the stop at its next heartbeat."""
    marker = seconds_to_sleep()
    runner = deployed.run(site, STUBBORN.format(marker))
    wait_for("the agent", lambda: _sleeping(marker) == 2)
    # What sleeps, and all that leads to it and shows what it runs: shells, sandbox and supervisor.
    processes = [psutil.Process(pid) for pid in processes_with(marker)]
    if lost:
        deployed.kill("broker")
    asked_at = time.monotonic()
    deployed.api.delete(f"/agent_runners/{runner['id']}").raise_for_status()
    wait_for_end(processes)
    assert not processes_with(marker), "a process was started meanwhile"
    took = time.monotonic() - asked_at
    if lost:
        deployed.start("broker", "broker")
    wait_for("the work", lambda: deployed.session(runner)["has_result_diff"])
    return took


def _sleeping(marker: str) -> int:
    return sum(psutil.Process(pid).name() == "sleep" for pid in processes_with(marker))
