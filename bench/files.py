"""A session that creates files without end: until it is stopped, memory of the worker, and the deletion.

The default limits of a session include one million files and folders. The disk of /var/tmp needs space for several
million of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench.deployments import deployment
from bench.figures import Figure, Samples, Size, at_most
from tests.deployment import Deployment, wait_for

MAKERS = 2
MAKE = """
import itertools, os
for folder in itertools.count():
    os.makedirs(f"{os.getpid()}/{folder}")
    for number in range(1000):
        os.close(os.open(f"{os.getpid()}/{folder}/{number}", os.O_CREAT | os.O_WRONLY))
"""
PROMPT = f"for maker in $(seq {MAKERS}); do python3 -c '{MAKE}' & done; wait"
PATIENCE_SECONDS = 900.0
MEBIBYTE = 2**20


def measure(size: Size) -> Iterator[Figure]:
    """An agent that creates files without end, until it is stopped and all are deleted."""
    limits = {"MAX_DISK_FILES": "1000"} if size == Size.TINY else {}
    with deployment(**limits) as deployed:
        deployed.start("sweep", "worker", "sweep")
        deployed.start_worker("sessions-1")
        yield from _measure(deployed)


def _measure(deployed: Deployment) -> Iterator[Figure]:
    site = deployed.make_site(deployed.make_repository({"a.txt": "a\n"}))
    deployed.ended(deployed.run(site, "true"))
    small, free = memory(deployed), free_files(deployed)
    runner = deployed.run(site, PROMPT)
    wait_for("the session", lambda: deployed.session(runner)["state"] == "RUNNING")
    begun = time.monotonic()
    most, files, answers = small, 0, []
    while (session := deployed.session(runner))["state"] == "RUNNING":
        assert time.monotonic() - begun < PATIENCE_SECONDS, "the session was not stopped in time"
        most = max(most, memory(deployed))
        files = max(files, free - free_files(deployed))
        answers.append(answer(deployed))
        time.sleep(0.05)
    ended = time.monotonic()
    assert session["failure"]["code"] == "file_limit", session["failure"]
    yield Figure("until the session is stopped", "s", [ended - begun])
    yield Figure("files and folders by then", "", [files])
    yield Figure(
        "memory of the worker's child, at most",
        "MiB",
        [most],
        Samples("before", [small]),
        [at_most(1.5, times_anchor=True)],
    )
    yield Figure("GET /healthz meanwhile", "ms", answers, goals=[at_most(500, "p99")])
    wait_for("the deletion of the files", lambda: not any(left_behind(deployed)), PATIENCE_SECONDS)
    yield Figure("until all files are deleted", "s", [time.monotonic() - ended])


def free_files(deployed: Deployment) -> int:
    return os.statvfs(deployed.folder).f_ffree


def memory(deployed: Deployment) -> float:
    return deployed.memory("sessions-1") / MEBIBYTE


def answer(deployed: Deployment) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    httpx.get(f"{deployed.url}/healthz").raise_for_status()
    return (time.perf_counter() - begun) * 1000


def left_behind(deployed: Deployment) -> Iterator[Path]:
    """Folders that the worker has not deleted yet."""
    for pattern in ("workspaces/*", "trash/*", "trash.deleting"):
        yield from (deployed.folder / "sessions-1").glob(pattern)
