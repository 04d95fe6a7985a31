"""Additions to Celery's workers: keep the fork server alive, clean up after lost workers, stop with the beat process."""

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
from tasks.recovery import lost_tasks, orphans

log = structlog.get_logger()
FORK_SERVER_CHECK_SECONDS = 1.0


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


class HostSweep(bootsteps.StartStopStep):
    """Handles what lost workers left on this host: when a session worker starts, then once per lease period.

    Celery restarts this step after each lost connection to the broker.
    """

    requires = (Tasks,)

    def include_if(self, parent: Consumer) -> bool:
        return queue.SESSIONS in parent.app.amqp.queues.consume_from

    def start(self, parent: Consumer) -> None:
        # The pool takes tasks once the event loop runs.
        self._first = parent.timer.call_after(0, self._sweep, (parent,))
        self._timer = parent.timer.call_repeatedly(settings().lease_seconds, self._sweep, (parent,))

    def stop(self, parent: Consumer) -> None:
        self._first.cancel()
        self._timer.cancel()

    def _sweep(self, parent: Consumer) -> None:
        if found := lost_tasks.find():
            parent.pool.apply_async(lost_tasks.requeue, (found,))
        orphans.start_sweep_if_needed()


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
