"""Stops a worker within a bound, whatever state it is in.

On SIGTERM, SIGINT or SIGQUIT the worker takes no more tasks, and lets those that run continue for
`SOFT_SHUTDOWN_SECONDS`. Then it interrupts them, and kills what is left. A second signal interrupts them at once. An
interrupted session is requeued; any other task ends with its process, as if that were killed, and the sweep has it done
again.

Celery does this inside its signal handler, wherever the signal came: with a lock held, or a process half started. Here
the handler only sets a flag, which Celery's loop reads.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import structlog
from celery.apps.worker import Worker
from celery.platforms import EX_FAILURE, EX_OK
from celery.worker import state

from app.config import settings
from tasks.extensions.pool import CLOSE_SECONDS, INTERRUPT_SECONDS

log = structlog.get_logger()
SPARE_SECONDS = 10.0
"""What a stop may take in addition to draining the pool, such as for a broker that does not answer."""


class BoundedWorker(Worker):
    """Celery's worker with handlers of our own for the signals that stop it."""

    def install_platform_tweaks(self, worker: Any) -> None:
        super().install_platform_tweaks(worker)
        pid = os.getpid()

        def stop(*_: Any) -> None:
            # A process of the pool has these handlers until it has set its own.
            if os.getpid() != pid:
                return
            if state.should_stop is None:
                state.should_stop = EX_OK
                signal.alarm(
                    round(settings().soft_shutdown_seconds + INTERRUPT_SECONDS + CLOSE_SECONDS + SPARE_SECONDS)
                )
            else:
                state.should_terminate = EX_FAILURE

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, stop)
        signal.signal(signal.SIGALRM, self._give_up)

    def on_stopped(self) -> None:
        """End beat, whatever state it is in: it has nothing to lose, and at its exit Python would wait for it for ever."""
        super().on_stopped()
        self._kill_beat()

    def _kill_beat(self) -> None:
        if self.beat is not None and self.beat.is_alive():
            os.kill(self.beat.pid, signal.SIGKILL)

    def _give_up(self, *_: Any) -> None:
        """End at once. Other workers do the tasks again that the processes of its pool have."""
        try:
            log.error("worker_stop_timed_out", remedy="Report this. Other workers do the worker's tasks again.")
            self._kill_beat()
        finally:
            os._exit(EX_FAILURE)
