"""P7: event streams. What 1,000 listeners wait for an event, and what they cost everybody else."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench.deployments import deployment, small_repository
from bench.figures import Figure, Samples, Size, at_most
from bench.posts import Caller
from tests.deployment import Deployment

LISTENERS = 1000
# The agent says the time once a second, to all of them.
PROMPT = "while :; do date +said-at-%s.%N; sleep 1; done"
SETTLE_SECONDS = 1.0


def measure(size: Size) -> Iterator[Figure]:
    """1,000 listeners on one web process: how late events reach them, and POST with and without them."""
    listeners, rounds = size.pick(20, LISTENERS, LISTENERS), size.pick(1, 2, 5)
    seconds = size.pick(2.0, 6.0, 20.0)
    lags: dict[str, list[float]] = {"one": [], "all": []}
    posts: dict[str, list[float]] = {"one": [], "all": []}
    with deployment(WEB_PROCESSES="1", MAX_QUEUED_SESSIONS="1000000") as deployed:
        deployed.start_worker("sessions-1")
        site = deployed.make_site(small_repository(deployed))
        # Nobody claims these, so that only the POST is measured.
        waiting = deployed.make_site(deployed.make_repository({"a.txt": "a"}, "waiting"), execution="external")
        runner = deployed.run(site, PROMPT, limits={"max_duration_seconds": 3600})
        deployed.has_step(runner, "said-at-")
        for _ in range(rounds):
            for name, count in (("one", 1), ("all", listeners)):
                with Listeners(deployed, runner, count) as listening:
                    posts[name] += _post(deployed, waiting, seconds)
                lags[name] += listening.lags
        deployed.call("DELETE", f"/agent_runners/{runner['id']}")
    yield Figure(
        f"{listeners} listeners: from the agent's word until they have it",
        "ms",
        lags["all"],
        Samples("one listener", lags["one"]),
        [at_most(30), at_most(1000, "p99")],
    )
    yield Figure(
        f"POST with {listeners} listeners",
        "ms",
        posts["all"],
        Samples("with one listener", posts["one"]),
        [at_most(1.1, "p99", times_anchor=True)],
    )


def _post(deployed: Deployment, site: dict[str, Any], seconds: float) -> list[float]:
    """Milliseconds of each POST of one caller who makes a few a second."""
    caller, found = Caller(deployed.url, {"Authorization": deployed.api.headers["Authorization"]}), []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        took, _ = caller.call("POST", "/api/v1/agent_runners", {"site_id": site["id"], "prompt": "true"})
        found.append(took)
        time.sleep(0.05)
    return found


class Listeners:
    """Clients in a process of their own, so that what they do delays nobody but themselves. `lags` has milliseconds."""

    def __init__(self, deployed: Deployment, runner: dict[str, Any], count: int) -> None:
        path = f"/api/v1/agent_runners/{runner['id']}/sessions/{runner['latest_session_id']}/events"
        token = deployed.api.headers["Authorization"]
        command = [sys.executable, "-m", "bench.event_clients", deployed.url, path, str(count)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin and self._process.stdout
        print(token, file=self._process.stdin, flush=True)
        self.lags: list[float] = []

    def __enter__(self) -> Listeners:
        assert self._process.stdout
        assert self._process.stdout.readline() == "listening\n", "not all clients could listen"
        time.sleep(SETTLE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        # The end of its input tells it to stop.
        self.lags = json.loads(self._process.communicate()[0])
