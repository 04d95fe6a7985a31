"""P8: how long a session waits until it runs again, when the process that ran it is killed, and when its host is lost.

There is no anchor: the message of a bare Celery task is lost with its worker, or with `acks_late` delivered again after
the visibility timeout, an hour by default. A lost host is noticed when the lease expires and the next sweep comes.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from typing import Any

import psutil

from bench.deployments import deployment, small_repository
from bench.figures import Figure, Size, at_most
from tests.deployment import Deployment, seconds_to_sleep, wait_for
from tests.faults.agents import AtWork, at_work

SESSIONS = 4


def measure(size: Size) -> Iterator[Figure]:
    """A process killed, and a host lost, until the session runs again."""
    with deployment() as deployed:
        deployed.start("sweep", "worker", "sweep")
        deployed.start_worker("host-0", SESSION_WORKERS=str(SESSIONS))
        site = deployed.make_site(small_repository(deployed))
        killed = [_after_kill(deployed, site) for _ in range(size.pick(1, 3, 20))]
        yield Figure("process of a session killed until the session runs again", "s", killed, goals=[at_most(2)])
        # Each round takes as long as a lease.
        lost = [each for number in range(size.pick(0, 1, 3)) for each in _after_loss(deployed, site, number)]
        if lost:
            yield Figure("host lost until its sessions run again on another", "s", lost, goals=[at_most(30)])


def _after_kill(deployed: Deployment, site: dict[str, Any]) -> float:
    """Seconds."""
    runner, agent = _start(deployed, site)
    killed_at = time.time()
    agent.pool.kill()
    return _started_again(deployed, runner) - killed_at


def _after_loss(deployed: Deployment, site: dict[str, Any], number: int) -> list[float]:
    """Seconds, for several sessions of the host with that number. The next one takes them."""
    runners = [_start(deployed, site)[0] for _ in range(SESSIONS)]
    deployed.start_worker(f"host-{number + 1}", SESSION_WORKERS=str(SESSIONS))
    host = psutil.Process(deployed.processes[f"host-{number}"].pid)
    # Frozen first, so that it does not notice the end of its processes.
    host.suspend()
    lost_at = time.time()
    for process in host.children(recursive=True):
        process.kill()
    deployed.kill(f"host-{number}")
    return [_started_again(deployed, runner) - lost_at for runner in runners]


def _start(deployed: Deployment, site: dict[str, Any]) -> tuple[dict[str, Any], AtWork]:
    marker = seconds_to_sleep()
    runner = deployed.run(site, f"sleep {marker}; true")
    return runner, at_work(deployed, marker)


def _started_again(deployed: Deployment, runner: dict[str, Any]) -> float:
    """When the second attempt was claimed, in seconds since the epoch. Stops it then."""
    path = f"/agent_runners/{runner['id']}/sessions/{runner['latest_session_id']}"

    def again() -> dict[str, Any] | None:
        session = deployed.call("GET", path)
        return session if (session["state"], session["attempt"]) == ("RUNNING", 2) else None

    session = wait_for("the next attempt", again, seconds=180)
    deployed.call("DELETE", path)
    return datetime.datetime.fromisoformat(session["started_at"]).timestamp()
