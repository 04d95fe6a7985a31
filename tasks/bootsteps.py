"""What our workers do beside Celery's own: keep the pool full, look for orphans, watch the clock."""

from __future__ import annotations

import os
import signal
from typing import Any

import structlog
from celery import bootsteps
from celery.worker.consumer import Consumer, Tasks

from app import queue
from app.config import settings
from tasks import orphans

log = structlog.get_logger()
LOOK_SECONDS = 0.1


class Refill(bootsteps.StartStopStep):
    """Put a new process into the place of each that has ended, at once. Each process of the pool runs one session, and is
    made ahead of it.

    Celery looks for it when the process has closed its files, which is a moment before it has ended. Where it then finds
    nothing to replace, it looks again every 5 s only, and the next session waited for that
    (https://github.com/celery/celery/issues/9588).
    """

    requires = (Tasks,)

    def include_if(self, parent: Consumer) -> bool:
        return queue.SESSIONS in parent.app.amqp.queues.consume_from

    def start(self, parent: Consumer) -> None:
        self._timer: Any = parent.timer.call_repeatedly(LOOK_SECONDS, parent.pool.maintain_pool)

    def stop(self, parent: Consumer) -> None:
        self._timer.cancel()


class OrphanSweep(bootsteps.StartStopStep):
    """Looks at what was left on this host by workers that ended badly: when a worker of sessions starts, and then as
    often as a lease may have run out. Celery starts it again after each loss of the broker."""

    requires = (Tasks,)

    def include_if(self, parent: Consumer) -> bool:
        return queue.SESSIONS in parent.app.amqp.queues.consume_from

    def start(self, parent: Consumer) -> None:
        orphans.start_sweep_where_needed()
        self._timer = parent.timer.call_repeatedly(settings().lease_seconds, orphans.start_sweep_where_needed)

    def stop(self, parent: Consumer) -> None:
        self._timer.cancel()


class Clock(bootsteps.StartStopStep):
    """Ends a sweep worker once its clock, the process that enqueues the sweeps, is gone: Celery would go on without it,
    and the process manager starts both again."""

    requires = (Tasks,)

    def include_if(self, parent: Consumer) -> bool:
        return queue.SWEEP in parent.app.amqp.queues.consume_from

    def start(self, parent: Consumer) -> None:
        self._timer = parent.timer.call_repeatedly(1.0, self._look, (parent.controller.beat,))

    def stop(self, parent: Consumer) -> None:
        self._timer.cancel()

    def _look(self, clock: Any) -> None:
        if not clock.is_alive():
            log.error("clock_lost")
            os.kill(os.getpid(), signal.SIGTERM)
