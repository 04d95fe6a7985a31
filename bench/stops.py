"""How long after DELETE the last process of a stubborn agent is gone, with the revoke and without it.

    .venv/bin/python -m bench.stops [--stops N]

Without the revoke, which a dead broker does not carry, the worker learns of the stop at its next heartbeat: here within a
second, by default within ten.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from bench.figures import show
from tests.deployment import Deployment, deployed, free_port, processes_with, wait_for
from tests.postgres import postgres_database

STUBBORN = "trap '' TERM HUP INT; (setsid sh -c 'trap \"\" TERM; exec sleep {0}' &); echo kept > a.txt; sleep {0}"
# One in so many is stopped with the broker dead.
LOST = 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stops", description=__doc__)
    parser.add_argument("--stops", type=int, default=200)
    stops = parser.parse_args().stops
    seconds: dict[str, list[float]] = {"with the revoke": [], "the revoke lost, heartbeat 1 s": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres_database() as url,
        deployed(Path(folder), url, free_port(), AGENTS="shell", SANDBOX="bubblewrap") as deployment,
    ):
        site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}))
        for number in range(1, stops + 1):
            lost = number % LOST == 0
            seconds[[*seconds][lost]].append(stop(deployment, site, lost=lost))
    show("DELETE until no process of the agent is left", seconds)


def stop(deployment: Deployment, site: dict[str, Any], *, lost: bool) -> float:
    marker = f"9{uuid.uuid4().int % 10**12}"
    runner = deployment.run(site, STUBBORN.format(marker))
    wait_for("the agent", lambda: len(processes_with(f"sleep {marker}")) >= 2)
    if lost:
        deployment.kill("broker")
    asked_at = time.monotonic()
    deployment.api.delete(f"/agent_runners/{runner['id']}").raise_for_status()
    wait_for("the end of every process", lambda: not processes_with(marker))
    took = time.monotonic() - asked_at
    if lost:
        deployment.start("broker", "broker")
    wait_for("the work", lambda: deployment.session(runner)["has_result_diff"])
    return took


if __name__ == "__main__":
    main()
