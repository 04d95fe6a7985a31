"""Measure a session that creates files without end: until it is stopped, memory of the worker, and the deletion.

    .venv/bin/python -m bench.files

It uses the default limits of a session, which include one million files and folders, and the disk of /var/tmp, which
needs space for several million of them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.deployment import Deployment, deployed, free_port, wait_for
from tests.postgres import postgres_database

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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.files", description=__doc__)
    parser.parse_args()
    defaults = {"LEASE_SECONDS": "60", "HEARTBEAT_SECONDS": "10"}
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        postgres_database() as url,
        deployed(Path(folder), url, free_port(), SANDBOX="bubblewrap", **defaults) as deployment,
    ):
        measure(deployment)


def measure(deployment: Deployment) -> None:
    site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}))
    deployment.ended(deployment.run(site, "true"))
    small, free = deployment.memory("sessions-1"), free_files(deployment)
    runner = deployment.run(site, PROMPT)
    wait_for("the session", lambda: deployment.session(runner)["state"] == "RUNNING")
    begun = time.monotonic()
    most, files, slowest = small, 0, 0.0
    while (session := deployment.session(runner))["state"] == "RUNNING":
        assert time.monotonic() - begun < PATIENCE_SECONDS, "the session was not stopped in time"
        most = max(most, deployment.memory("sessions-1"))
        files = max(files, free - free_files(deployment))
        slowest = max(slowest, answer(deployment))
        time.sleep(0.05)
    ended = time.monotonic()
    print(f"stopped with {session['failure']['code']} after {ended - begun:.1f} s, {files:,} files and folders")
    print(f"the worker: {small / MEBIBYTE:.0f} MiB before, {most / MEBIBYTE:.0f} MiB at most")
    print(f"slowest answer of the API in that time: {slowest * 1000:.0f} ms")
    wait_for("the deletion of the files", lambda: not any(left_behind(deployment)), PATIENCE_SECONDS)
    print(f"all files were deleted {time.monotonic() - ended:.1f} s later")


def free_files(deployment: Deployment) -> int:
    return os.statvfs(deployment.folder).f_ffree


def answer(deployment: Deployment) -> float:
    begun = time.perf_counter()
    httpx.get(f"{deployment.url}/healthz").raise_for_status()
    return time.perf_counter() - begun


def left_behind(deployment: Deployment) -> Iterator[Path]:
    """Folders that the worker has not deleted yet."""
    for pattern in ("workspaces/*", "trash/*", "trash.deleting"):
        yield from (deployment.folder / "sessions-1").glob(pattern)


if __name__ == "__main__":
    main()
