"""P6: the memory of a running session, beside that of a bare Celery task."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import psutil

from bench.bare_worker import BareWorker
from bench.deployments import deployment, small_repository
from bench.figures import Figure, Samples, Size, at_most
from tests.deployment import processes_with, seconds_to_sleep, wait_for

SESSIONS = 4
MEBIBYTE = 2**20
SETTLE_SECONDS = 3.0


def measure(size: Size) -> Iterator[Figure]:
    """Proportional memory (PSS) of a running session: all processes of the worker but its first."""
    count = size.pick(1, SESSIONS, SESSIONS)
    with deployment() as deployed:
        worker = psutil.Process(deployed.start_worker("sessions-1", SESSION_WORKERS=str(count)).pid)
        site, marker = deployed.make_site(small_repository(deployed)), seconds_to_sleep()
        bare = BareWorker(deployed)
        for _ in range(count):
            deployed.run(site, f"sleep {marker}; exit")
        wait_for("every agent", lambda: _sleeping(marker) == count)
        hanging = [bare.hang()[0] for _ in range(min(count, 2))]
        each, bares, main = [], [], []
        for _ in range(size.pick(1, 2, 10)):
            time.sleep(size.pick(0, SETTLE_SECONDS, SETTLE_SECONDS))
            each.append(sum(pss(process) for process in worker.children(recursive=True)) / count)
            bares += [pss(process) for process in hanging]
            main.append(pss(worker))
    yield Figure(
        f"each of {count} running sessions", "MiB", each, Samples("child of a bare Celery worker", bares), [at_most(42)]
    )
    yield Figure("the worker's first process", "MiB", main)


def _sleeping(marker: str) -> int:
    """How many agents sleep. Each shows the marker in its shell too, as an argument of more words."""
    found = [psutil.Process(pid).cmdline() for pid in processes_with(marker)]
    return sum(command == ["sleep", marker] for command in found)


def pss(process: psutil.Process) -> float:
    """Mebibytes, those that are shared divided by the number of processes that share them. 0 for one that has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.memory_full_info().pss / MEBIBYTE
    return 0.0
