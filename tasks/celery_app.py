"""The Celery application as workers run it: `celery -A tasks.celery_app worker`.

Web processes never import this room; they send tasks by name through `app.queue`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import warnings
from typing import Any

import structlog
from celery import bootsteps
from celery.platforms import SecurityWarning
from celery.signals import (
    beat_embedded_init,
    setup_logging,
    task_prerun,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
)
from sqlalchemy import orm

from app import db, queue
from app.config import settings
from app.logs import configure_logging
from app.services.execution import scheduling
from app.setting_values import SettingsError
from tasks import orphans
from tasks.bootsteps import Refill
from tasks.session_jobs import limits_of, this_host
from tasks.transactions import UNAVAILABLE
from workers.sandbox.layers import layers

log = structlog.get_logger()
# Celery warns of root at length; agents of a worker that is root run as a user of their own.
warnings.filterwarnings("ignore", category=SecurityWarning)
app = queue.celery()
app.steps["consumer"].add(Refill)
app.conf.imports = ("tasks.sessions", "tasks.publications", "tasks.sweep")
app.conf.result_backend = "tasks.results:NoResults"
app.conf.beat_schedule = {
    "sweep": {
        "task": queue.SWEEP_ALL,
        "schedule": settings().sweep_seconds,
        # A sweep that nobody ran in time is worth nothing: the next one does the same.
        "options": {"expires": settings().sweep_seconds * 2},
    }
}


class Leftovers(bootsteps.StartStopStep):
    """Looks at what was left on this host by workers that ended badly: when a worker of sessions starts, and then as
    often as a lease may have run out. Celery starts it again after each loss of the broker."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def include_if(self, consumer: Any) -> bool:
        return queue.SESSIONS in app.amqp.queues.consume_from

    def start(self, consumer: Any) -> None:
        orphans.start_sweep_where_needed()
        self._timer = consumer.timer.call_repeatedly(settings().lease_seconds, orphans.start_sweep_where_needed)

    def stop(self, consumer: Any) -> None:
        self._timer.cancel()


app.steps["consumer"].add(Leftovers)


class Clock(bootsteps.StartStopStep):
    """Ends a sweep worker once its clock, the process that enqueues the sweeps, is gone: Celery would go on without it,
    and the process manager starts both again."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def include_if(self, consumer: Any) -> bool:
        return queue.SWEEP in app.amqp.queues.consume_from

    def start(self, consumer: Any) -> None:
        self._timer = consumer.timer.call_repeatedly(1.0, self._look, (consumer.controller.beat,))

    def stop(self, consumer: Any) -> None:
        self._timer.cancel()

    def _look(self, clock: Any) -> None:
        if not clock.is_alive():
            log.error("clock_lost")
            os.kill(os.getpid(), signal.SIGTERM)


app.steps["consumer"].add(Clock)


@worker_init.connect
def refuse_what_cannot_be(**_: Any) -> None:
    """End a worker whose settings would end each of its sessions. Celery swallows any other exception here."""
    if queue.SESSIONS in app.amqp.queues.consume_from:
        try:
            this_host()
        except SettingsError as error:
            sys.exit(f"agent-runners: {error}")


@worker_init.connect
def map_tables(**_: Any) -> None:
    """Once, for all the processes of the pool: they are copies of this one."""
    orm.configure_mappers()


@worker_ready.connect
def tell_what_is_missing(**_: Any) -> None:
    """Say at the start of a worker that runs agents what does not stand between them and this machine."""
    if queue.SESSIONS not in app.amqp.queues.consume_from:
        return
    for layer in layers(this_host(), limits_of(settings().max_duration_seconds)):
        if layer.state != "working":
            tell = log.error if layer.state == "missing" else log.warning
            tell(f"{layer.name}_{layer.state}".replace(" ", "_"), told=layer.told, remedy=layer.remedy)


@beat_embedded_init.connect
def end_the_clock_with_its_worker(**_: Any) -> None:
    """Beat is a process beside the sweep's worker, and would enqueue sweeps for ever once that was killed."""
    worker = os.getppid()

    def watch() -> None:
        while os.getppid() == worker:
            time.sleep(1)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


@worker_process_init.connect
def open_database(**_: Any) -> None:
    """Each process of the pool makes its own connections, after the fork."""
    db.configure(settings().database)
    if queue.SESSIONS in app.amqp.queues.consume_from:
        # In a thread, as an unavailable database would keep the process from starting.
        threading.Thread(target=_get_ready, daemon=True).start()


def _get_ready() -> None:
    """Connect, and prepare what a claim begins with, before there is a session: its process is made ahead of it."""
    with contextlib.suppress(*UNAVAILABLE), db.transaction(read_only=True):
        scheduling.find_next()


@worker_process_shutdown.connect
def flush_dispatches(**_: Any) -> None:
    """Send what is handed over when a process ends after its session: the pool ends it without `atexit`."""
    queue.flush()


@task_prerun.connect
def name_request(task: Any, **_: Any) -> None:
    """Let each line of the task's log name the request that it goes back to, if it was one."""
    structlog.contextvars.clear_contextvars()
    if request_id := task.request.get(queue.REQUEST_ID):
        structlog.contextvars.bind_contextvars(request_id=request_id)


@setup_logging.connect
def open_log(**_: Any) -> None:
    configure_logging("worker")
