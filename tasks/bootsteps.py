"""The pool of a worker that runs sessions: each process of it runs one, and is made ahead of it."""

from __future__ import annotations

from typing import Any

from celery import bootsteps
from celery.worker.consumer import Consumer, Tasks

from app import queue

LOOK_SECONDS = 0.1


class Refill(bootsteps.StartStopStep):
    """Put a new process into the place of each that has ended, at once.

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
