"""Measure how long a session waits for an idle worker: from the answer to POST until a worker has claimed it.

    .venv/bin/python -m bench.dispatch [--rounds N]

It alternates with a bare Celery task that uses the same publisher and broker, and a worker with the same options. The
database is Postgres, whose clock is this machine's. What a session does after its claim is not measured. Each is
measured half a second after the one before, and then again without a pause: a worker starts a new process for each
session, and the result depends on whether that is ready.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.bare_worker import BareWorker
from bench.figures import show
from tests.deployment import Deployment, free_port
from tests.postgres import postgres_database

REST_SECONDS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.dispatch", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, postgres_database() as url:
        deployment = Deployment(Path(folder), url, free_port(), AGENTS="shell")
        try:
            deployment.start_api()
            deployment.start_worker("sessions-1")
            site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}))
            measured: dict[str, Callable[[], float]] = {
                "bare Celery task": BareWorker(deployment).begin,
                "session, from the answer to POST": lambda: begin_session(deployment, site),
            }
            # The first session waits until the worker has started.
            begin_session(deployment, site)
            for rest in (REST_SECONDS, 0):
                seconds: dict[str, list[float]] = {name: [] for name in measured}
                for _ in range(rounds):
                    for name, measure in measured.items():
                        time.sleep(rest)
                        seconds[name].append(measure())
                show(f"until a worker starts, {rest:g} s after the end of the one before", seconds)
        finally:
            deployment.stop_all()


def begin_session(deployment: Deployment, site: dict[str, Any]) -> float:
    runner = deployment.run(site, "true")
    answered_at = time.time()
    session = deployment.ended(runner)
    assert session["state"] == "DONE", session["failure"]
    return datetime.datetime.fromisoformat(session["started_at"]).timestamp() - answered_at


if __name__ == "__main__":
    main()
