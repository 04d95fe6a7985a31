"""Additions to Celery's workers: keep the pool full and the fork server alive, clean up after lost workers, stop with the
beat process."""

from __future__ import annotations

import os
import signal
from typing import Any

import structlog
from celery import Celery, bootsteps
from celery.worker.consumer import Consumer, Tasks

import workers
from app import queue
from app.config import settings
from tasks import orphans

log = structlog.get_logger()
POOL_CHECK_SECONDS = 0.1
FORK_SERVER_CHECK_SECONDS = 1.0


class Refill(bootsteps.StartStopStep):
    """Replace each process of the pool as soon as it has ended. A process runs one session and is started ahead of it.

    Celery checks the pool when a process has closed its files, which is a moment before it ends. If it finds nothing to
    replace then, it checks again only every 5 s, and the next session would have to wait
    (https://github.com/celery/celery/issues/9588).
    """

    requires = (Tasks,)

    def include_if(self, parent: Consumer) -> bool:
        return queue.SESSIONS in parent.app.amqp.queues.consume_from

    def start(self, parent: Consumer) -> None:
        self._timer: Any = parent.timer.call_repeatedly(POOL_CHECK_SECONDS, parent.pool.maintain_pool)

    def stop(self, parent: Consumer) -> None:
        self._timer.cancel()


class ForkServer(bootsteps.StartStopStep):
    """Starts the engine's fork server again if it has ended. Processes of the pool that follow share the new one."""

    requires = (Tasks,)

    @staticmethod
    def is_needed(app: Celery) -> bool:
        """Whether this worker starts processes of the engine: for sessions and publications, but not for sweeps."""
        return bool({queue.SESSIONS, queue.CONTROL} & set(app.amqp.queues.consume_from))

    def include_if(self, parent: Consumer) -> bool:
        return self.is_needed(parent.app)

    def start(self, parent: Consumer) -> None:
        self._timer = parent.timer.call_repeatedly(FORK_SERVER_CHECK_SECONDS, workers.start_fork_server)

    def stop(self, parent: Consumer) -> None:
        self._timer.cancel()


class OrphanSweep(bootsteps.StartStopStep):
    """Handles the workspaces of lost workers on this host: when a session worker starts, then once per lease period.

    Celery restarts this step after each lost connection to the broker.
    """

    requires = (Tasks,)

    def include_if(self, parent: Consumer) -> bool:
        return queue.SESSIONS in parent.app.amqp.queues.consume_from

    def start(self, parent: Consumer) -> None:
        orphans.start_sweep_if_needed()
        self._timer = parent.timer.call_repeatedly(settings().lease_seconds, orphans.start_sweep_if_needed)

    def stop(self, parent: Consumer) -> None:
        self._timer.cancel()


class BeatCheck(bootsteps.StartStopStep):
    """Stops a sweep worker when its beat process, which enqueues the sweeps, has died.

    Celery would continue without beat. The process manager restarts both.
    """

    requires = (Tasks,)

    def include_if(self, parent: Consumer) -> bool:
        return queue.SWEEP in parent.app.amqp.queues.consume_from

    def start(self, parent: Consumer) -> None:
        self._timer = parent.timer.call_repeatedly(1.0, self._check, (parent.controller.beat,))

    def stop(self, parent: Consumer) -> None:
        self._timer.cancel()

    def _check(self, beat: Any) -> None:
        if not beat.is_alive():
            log.error("beat_lost", remedy="The worker stops now; its process manager must restart it.")
            os.kill(os.getpid(), signal.SIGTERM)
