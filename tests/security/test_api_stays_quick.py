"""While sessions do their worst the API answers and the worker stays small, and each ends with its own code.

A real deployment.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import patiently
from tests.deployment import Deployment, deployed, wait_for
from tests.ports import free_port
from tests.workers.engine import USUAL_SANDBOX, linux

# One deployment at a time: two of them would only slow each other down.
pytestmark = [linux, pytest.mark.xdist_group("bombs")]
# Generous: a busy machine of two cores has other things to do.
SLOWEST_SECONDS = 15.0
MEBIBYTE = 1024**2
GROWTH = 100 * MEBIBYTE
HOG = "for n in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; yes"
OTHERS = {
    "process_limit": "bomb() { bomb | bomb & }; bomb; sleep 300",
    "memory_limit": "exec python3 -c 'hoard = []\nwhile True: hoard.append(b\"x\" * 2**20)'",
    "disk_limit": "head -c 10G /dev/zero > big",
    "file_limit": "mkdir many; cd many; seq 1000000 | xargs touch; sleep 300",
    "output_limit": "head -c 100M /dev/zero | tr '\\0' x; sleep 300",
}


@pytest.fixture(params=USUAL_SANDBOX)
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    # A lease that no load makes a worker lose.
    lease = {"LEASE_SECONDS": "60", "HEARTBEAT_SECONDS": "5"}
    limits = {
        "MAX_PROCESSES": "300",
        "MAX_MEMORY_BYTES": str(400 * MEBIBYTE),
        "MAX_OUTPUT_BYTES": str(1024**4),
        "MAX_FILE_BYTES": str(400 * MEBIBYTE),
        "MAX_DISK_FILES": "20000",
    }
    workers = str(len(OTHERS) + 1)
    settings = {"SANDBOX": request.param, "SESSION_WORKERS": workers, **lease, **limits}
    with deployed(tmp_path, "", free_port(), forked=True, **settings) as running:
        yield running


def usual(call: Callable[[], Any], times: int) -> float:
    """The seconds that a call took, the median of several: the machine alone may hold one up."""
    seconds = []
    for _ in range(times):
        started = time.monotonic()
        call()
        seconds.append(time.monotonic() - started)
    return statistics.median(seconds)


@contextlib.contextmanager
def growth(deployment: Deployment) -> Iterator[Callable[[], int]]:
    """How many bytes more than the largest process of the worker's pool had at the start one of them has had since."""
    before, most, ended = deployment.memory("sessions-1"), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.1):
            most = max(most, deployment.memory("sessions-1"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: most - before
    finally:
        ended.set()
        thread.join()


def test_the_api_answers_and_the_worker_stays_small_while_sessions_do_their_worst(deployment: Deployment) -> None:
    site = deployment.make_site(deployment.make_repository({"README": "hello\n"}))
    deployment.ended(deployment.run(site, "true"))
    with growth(deployment) as grown:
        hog = deployment.run(site, HOG)
        runners = {code: deployment.run(site, prompt) for code, prompt in OTHERS.items()}
        wait_for("the hog", lambda: deployment.session(hog)["state"] == "RUNNING")
        healthy = usual(lambda: patiently.get(f"{deployment.url}/healthz").raise_for_status(), 20)
        posted = usual(lambda: deployment.run(site, "true"), 5)
        assert deployment.session(hog)["state"] == "RUNNING", "the API was asked too late"
        # It takes both processors, and goes on for as long as it is let.
        assert deployment.api.delete(f"/agent_runners/{hog['id']}").status_code == 202
        for code, runner in runners.items():
            session = deployment.ended(runner)
            assert (session["state"], (session["failure"] or {}).get("code")) == ("ERROR", code)
    print(f"healthz {healthy:.3f} s, POST {posted:.3f} s, the worker {grown() / MEBIBYTE:.1f} MiB more")
    assert max(healthy, posted) < SLOWEST_SECONDS
    assert grown() < GROWTH
    if deployment.settings["SANDBOX"] == "none":
        assert "sandbox_off" in deployment.log("sessions-1"), "the worker says so when it starts"
