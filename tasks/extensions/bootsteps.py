"""Additions to Celery's workers: keep the fork server alive, clean up after lost workers, keep mirrors, stop with beat."""

from __future__ import annotations

import math
import os
import signal
import time
from typing import Any

import structlog
from celery import Celery, bootsteps
from celery.worker.consumer import Consumer, Tasks
from celery.worker.control import control_command
from kombu.asynchronous.timer import Timer

import workers
from app import queue
from app.config import settings
from tasks.background import start_in_background
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


class MirrorRefresh(bootsteps.StartStopStep):
    """Starts to fetch repositories that are due: when a session worker starts, at intervals, and when it is asked to."""

    requires = (Tasks,)

    def include_if(self, parent: Consumer) -> bool:
        return _keeps_mirrors(parent.app)

    def start(self, parent: Consumer) -> None:
        seconds = settings().mirror_refresh_seconds
        _refresh.ask(parent.timer)
        self._timer = parent.timer.call_repeatedly(seconds, _refresh.ask, (parent.timer,))

    def stop(self, parent: Consumer) -> None:
        self._timer.cancel()


@control_command(name=queue.REFRESH_MIRRORS)
def refresh_mirrors(state: Any) -> None:
    """Fetch repositories that are due soon, such as that of a new site."""
    if _keeps_mirrors(state.app):
        _refresh.ask(state.consumer.timer)


class _Refresh:
    """Starts the program that fetches: at once, and again after a rest.

    A start takes a second of a processor, and each change of a site asks for one. So whoever may change sites could keep
    this host from all else.
    """

    REST_SECONDS = 10.0

    def __init__(self) -> None:
        self._starts_at = -math.inf

    def ask(self, timer: Timer) -> None:
        """Start it as soon as it may be, unless it will be by itself."""
        now = time.monotonic()
        if self._starts_at <= now:
            self._starts_at = max(now, self._starts_at + self.REST_SECONDS)
            timer.call_after(
                self._starts_at - now, start_in_background, ("tasks.startup.mirrors",), {"ends_with_us": True}
            )


_refresh = _Refresh()


def _keeps_mirrors(app: Celery) -> bool:
    return queue.SESSIONS in app.amqp.queues.consume_from and settings().mirror_refresh_seconds > 0


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
