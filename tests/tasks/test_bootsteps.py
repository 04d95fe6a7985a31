"""A real worker with one process at a time, and sessions that come one right after the other."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

from tests.deployment import Deployment, free_port

SESSIONS = 4
WORKER = [
    *(sys.executable, "-m", "celery", "--app", "tests.tasks.lingering", "worker", "--queues", "sessions"),
    *("--pool", "prefork", "--concurrency", "1", "--max-tasks-per-child", "1", "--without-gossip", "--without-mingle"),
]


def test_a_session_does_not_wait_until_celery_looks_for_processes_that_ended(tmp_path: Path) -> None:
    """Celery looks every 5 s where it was too early the first time, so these waited for 15 s; they need some seconds."""
    deployment = Deployment(tmp_path, "", free_port(), AGENTS="shell")
    try:
        deployment.start_api()
        deployment.start("sweep", "worker", "sweep")
        with open(tmp_path / "worker.log", "wb") as log:
            deployment.processes["worker"] = subprocess.Popen(
                WORKER, env=deployment.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        site = deployment.make_site(deployment.make_repository({"a.txt": "a\n"}))
        deployment.ended(deployment.run(site, "true"))
        waited = datetime.timedelta()
        for _ in range(SESSIONS):
            session = deployment.ended(deployment.run(site, "true"))
            created, started = (datetime.datetime.fromisoformat(session[name]) for name in ("created_at", "started_at"))
            waited += started - created
    finally:
        deployment.stop_all()
    assert waited.total_seconds() < SESSIONS * 2.5
