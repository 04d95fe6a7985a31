"""P8: how long a session waits until it runs again, when the process that ran it is killed, and when its host is lost.

There is no anchor: the message of a bare Celery task is lost with its worker, or with `acks_late` delivered again after
the visibility timeout, an hour by default. A lost host is noticed when the lease expires and the next sweep comes.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator

import psutil

from bench.deployments import deployment
from bench.figures import Figure, Size, at_most
from tests.deployment import Deployment, wait_for
from tests.faults.agents import at_work
from tests.faults.sessions import assert_ran_again, hanging_once, start

HOSTS = 4


def measure(size: Size) -> Iterator[Figure]:
    """A process killed, and a host lost, until the session runs again."""
    with deployment() as deployed:
        deployed.start("sweep", "worker", "sweep")
        deployed.start_worker("sessions-1", SESSION_WORKERS=str(HOSTS))
        killed = [_after_kill(deployed, f"killed-{number}") for number in range(size.pick(1, 5, 20))]
        yield Figure("process of a session killed until the session runs again", "s", killed, goals=[at_most(2)])
        if size != Size.TINY:
            lost = [each for round in range(size.pick(0, 1, 5)) for each in _after_loss(deployed, round)]
            yield Figure("host lost until its sessions run again on another", "s", lost, goals=[at_most(30)])


def _after_kill(deployed: Deployment, name: str) -> float:
    script, marker = hanging_once(deployed)
    runner = start(deployed, name, script)
    process = at_work(deployed, marker).pool
    deployed.has_step(runner, "first try")
    killed_at = time.time()
    process.kill()
    return _started_again(deployed, runner) - killed_at


def _after_loss(deployed: Deployment, round: int) -> list[float]:
    """Several sessions of one host, since each round takes as long as a lease."""
    host, other = f"sessions-{round + 1}", f"sessions-{round + 2}"
    runners = []
    for number in range(HOSTS):
        script, marker = hanging_once(deployed)
        runners.append(start(deployed, f"lost-{round}-{number}", script))
        at_work(deployed, marker)
        deployed.has_step(runners[-1], "first try")
    deployed.start_worker(other, SESSION_WORKERS=str(HOSTS))
    worker = psutil.Process(deployed.processes[host].pid)
    # Frozen first, so that it does not notice the end of its processes.
    worker.suspend()
    lost_at = time.time()
    for process in worker.children(recursive=True):
        process.kill()
    deployed.kill(host)
    return [_started_again(deployed, runner) - lost_at for runner in runners]


def _started_again(deployed: Deployment, runner: dict[str, object]) -> float:
    """When the second attempt was claimed, in seconds since the epoch."""
    wait_for("the next attempt", lambda: deployed.session(runner)["attempt"] == 2, seconds=180)
    session = assert_ran_again(deployed, runner)
    return datetime.datetime.fromisoformat(session["started_at"]).timestamp()
