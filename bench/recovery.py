"""Measure how long a session whose worker is killed waits until it runs again on another, at the default settings.

    .venv/bin/python -m bench.recovery [--rounds N]

The lease is 60 s, its last heartbeat is up to 10 s old, and the next sweep starts within 10 s: so 50 to 70 s, and the
claim. There is no comparison with a bare Celery task: its message is lost with the worker, or with `acks_late`
delivered again after the visibility timeout, which is an hour by default. Each round takes a minute and a half.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from bench.figures import defaults
from tests.deployment import Deployment, deployed, free_port, wait_for
from tests.faults.agents import at_work
from tests.faults.sessions import assert_ran_again, hanging_once, start
from tests.postgres import postgres_database

AT_MOST_SECONDS = 75.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print("kill -9 of a worker until its session runs again on another")
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres_database() as url,
        deployed(Path(folder), url, free_port(), AGENTS="shell", **defaults()) as deployment,
    ):
        deployment.start_worker("sessions-2")
        for number in range(1, rounds + 1):
            seconds = recovery(deployment, f"killed-{number}")
            ratio = seconds / AT_MOST_SECONDS
            print(f"  round {number}{seconds:8.1f} s{ratio:8.2f} x of the {AT_MOST_SECONDS:g} s allowed", flush=True)
            assert seconds < AT_MOST_SECONDS


def recovery(deployment: Deployment, name: str) -> float:
    script, marker = hanging_once(deployment)
    runner = start(deployment, name, script)
    worker = at_work(deployment, marker).worker
    deployment.has_step(runner, "first try")
    killed_at = time.monotonic()
    deployment.kill(worker)
    wait_for("the next attempt", lambda: deployment.session(runner)["attempt"] == 2, seconds=120)
    seconds = time.monotonic() - killed_at
    assert_ran_again(deployment, runner)
    deployment.start_worker(worker)
    return seconds


if __name__ == "__main__":
    main()
