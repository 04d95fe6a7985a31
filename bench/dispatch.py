"""How long a session waits for an idle worker: from the answer to POST until a worker has claimed it.

    .venv/bin/python -m bench.dispatch [--rounds N]

Beside it, in turns, a bare Celery task: handed to the same publisher, sent through the same broker, begun by a worker
with the same options. On Postgres, whose clock is this machine's. What a session does after its claim is not measured.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from app import queue
from bench.figures import show
from tests.deployment import Deployment, free_port, wait_for
from tests.postgres import postgres_database

# After each task a worker makes a new process for the next; one that is amid that is not idle.
REST_SECONDS = 0.5
BEGIN_BARE = "bare.begin"
BARE_WORKER = [
    *(sys.executable, "-m", "celery", "--app", "bench.bare", "worker", "--queues", queue.CONTROL),
    *("--hostname", "bare@%h", "--pool", "prefork", "--without-gossip", "--without-mingle"),
    *("--concurrency", "2", "--max-tasks-per-child", "1"),
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.dispatch", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    bare, sessions = [], []
    with tempfile.TemporaryDirectory() as folder, postgres_database() as url:
        deployment = Deployment(Path(folder), url, free_port(), AGENTS="shell")
        try:
            deployment.start_api()
            deployment.start_worker("sessions-1")
            start_bare_worker(deployment)
            site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}))
            # The first of each waits for its worker to start.
            begin_bare(deployment), begin_session(deployment, site)
            for _ in range(rounds):
                bare.append(begin_bare(deployment))
                sessions.append(begin_session(deployment, site))
        finally:
            deployment.stop_all()
    show("until an idle worker begins", {"bare Celery task": bare, "session, from the answer to POST": sessions})


def start_bare_worker(deployment: Deployment) -> None:
    environment = deployment.environment()
    # This process sends to it, with the settings of the others.
    os.environ.update(environment)
    with open(deployment.folder / "bare.log", "ab") as log:
        deployment.processes["bare"] = subprocess.Popen(
            BARE_WORKER, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def begin_bare(deployment: Deployment) -> float:
    file = deployment.folder / f"begun-{time.time_ns()}"
    time.sleep(REST_SECONDS)
    sent_at = time.time()
    queue.send(BEGIN_BARE, str(file))
    wait_for("the bare task", file.exists)
    return float(file.read_text()) - sent_at


def begin_session(deployment: Deployment, site: dict[str, Any]) -> float:
    time.sleep(REST_SECONDS)
    runner = deployment.run(site, "true")
    answered_at = time.time()
    session = deployment.ended(runner)
    assert session["state"] == "DONE", session["failure"]
    return datetime.datetime.fromisoformat(session["started_at"]).timestamp() - answered_at


if __name__ == "__main__":
    main()
