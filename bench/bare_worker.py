"""A bare Celery worker next to a deployment, as the baseline for measurements in the same run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil

from app import queue
from app.config import settings
from tests.deployment import Deployment, wait_for

_BEGIN, _HANG, _QUEUE = "bare.begin", "bare.hang", "bare"
_PATIENCE_SECONDS = 60.0
_WORKER = [
    *(sys.executable, "-m", "celery", "--app", "bench.bare", "worker", "--queues", _QUEUE),
    *("--hostname", "bare@%h", "--pool", "prefork", "--without-gossip", "--without-mingle"),
    *("--concurrency", "2", "--max-tasks-per-child", "1"),
]


class BareWorker:
    """Uses the broker, settings and pool options of the deployment's session workers."""

    def __init__(self, deployment: Deployment) -> None:
        self._folder = deployment.folder
        environment = deployment.environment()
        # This process sends the tasks, so it needs the settings of this deployment and not of one before.
        os.environ.update(environment)
        settings.cache_clear()
        queue.celery.cache_clear()
        self._celery = queue.celery()
        self._celery.conf.task_routes |= {"bare.*": {"queue": _QUEUE}}
        with open(self._folder / "bare.log", "ab") as log:
            deployment.processes["bare"] = subprocess.Popen(
                _WORKER, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        # The first task waits until the worker has started.
        self.begin()

    def begin(self) -> float:
        """Seconds from sending a task until it starts."""
        file = self._new_file()
        sent_at = time.time()
        self._celery.send_task(_BEGIN, (str(file),))
        wait_for("the bare task", file.exists)
        return float(file.read_text()) - sent_at

    def hang(self) -> tuple[psutil.Process, str]:
        """The process of a task that does nothing until it is revoked, and the id of the task."""
        file, task_id = self._new_file(), str(uuid.uuid4())
        self._celery.send_task(_HANG, (str(file),), task_id=task_id)
        wait_for("the bare task", file.exists)
        return psutil.Process(int(file.read_text())), task_id

    def revoke(self) -> float:
        """Seconds from revoking a task until its process has ended."""
        process, task_id = self.hang()
        revoked_at = time.monotonic()
        self._celery.control.revoke(task_id, terminate=True, signal="SIGTERM")
        wait_for_end([process])
        return time.monotonic() - revoked_at

    def _new_file(self) -> Path:
        return self._folder / f"bare-{uuid.uuid4().hex}"


def wait_for_end(processes: list[psutil.Process]) -> None:
    """Wait until none of them runs. A zombie does not count: Celery may reap it only seconds later."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while any(_runs(each) for each in processes):
        assert time.monotonic() < deadline, f"{processes} do not end"
        time.sleep(0.001)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
