"""Measure how long after DELETE the last process of a stubborn agent has ended, with and without the revoke.

    .venv/bin/python -m bench.stops [--stops N] [--lost N]

It uses the default settings. Without the revoke, which needs the broker, the worker notices the stop at its next
heartbeat, within ten seconds. It alternates with a bare Celery task that sleeps, from its revoke until its process has
ended. Fails if a stop takes longer than guaranteed: 1 s with the revoke (p99), 20 s in all cases.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.bare_worker import BareWorker
from bench.figures import defaults, percentiles, show
from tests.deployment import Deployment, deployed, free_port, processes_with, seconds_to_sleep, wait_for
from tests.postgres import postgres_database

STUBBORN = "trap '' TERM HUP INT; (setsid sh -c 'trap \"\" TERM; exec sleep {0}' &); echo kept > a.txt; sleep {0}"
NORMALLY_SECONDS, AT_WORST_SECONDS = 1.0, 20.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stops", description=__doc__)
    parser.add_argument("--stops", type=int, default=200, help="stops with the revoke")
    parser.add_argument("--lost", type=int, default=20, help="stops with the broker killed")
    arguments = parser.parse_args()
    bare, revoked, lost = [], [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres_database() as url,
        deployed(Path(folder), url, free_port(), AGENTS="shell", SANDBOX="bubblewrap", **defaults()) as deployment,
    ):
        site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}))
        bare_worker = BareWorker(deployment)
        for _ in range(arguments.stops):
            bare.append(bare_worker.revoke())
            revoked.append(stop(deployment, site, lost=False))
        for _ in range(arguments.lost):
            lost.append(stop(deployment, site, lost=True))
    show(
        "DELETE until no process of the agent is left",
        {"bare Celery task, revoked": bare, "with the revoke": revoked, "the revoke lost": lost},
    )
    print(f"  at worst {max(revoked):.2f} s with the revoke, {max(lost):.2f} s without it")
    assert percentiles(revoked)[1] < NORMALLY_SECONDS, "stops take too long"
    assert max(*revoked, *lost) < AT_WORST_SECONDS, "a stop took too long"


def stop(deployment: Deployment, site: dict[str, Any], *, lost: bool) -> float:
    marker = seconds_to_sleep()
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
