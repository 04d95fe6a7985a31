"""The Celery application as workers run it: `celery -A tasks.celery_app worker`.

Web processes never import this room; they send tasks by name through `app.queue`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
import warnings
from typing import Any

import structlog
from celery.exceptions import CPendingDeprecationWarning
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
from celery.worker.consumer import consumer
from kombu.exceptions import OperationalError
from sqlalchemy import orm

from app import db, queue
from app.config import settings
from app.logs import configure_logging
from app.models.limits import SessionLimits
from app.services import secret_key
from app.services.execution import scheduling
from app.setting_values import SettingsError
from tasks.bootsteps import Clock, OrphanSweep, Refill
from tasks.session_jobs import limits_of, this_host
from workers.sandbox.layers import layers

log = structlog.get_logger()
NAME_SECONDS = 0.5
"""How long another worker of the same name gets to answer."""
# Celery warns of root at length; agents of a worker that is root run as a user of their own.
warnings.filterwarnings("ignore", category=SecurityWarning)
# And of what `worker_cancel_long_running_tasks_on_connection_loss` will be by itself one day, which we chose.
warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
app = queue.celery()
app.steps["consumer"].update((Refill, OrphanSweep, Clock))
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


# What follows may have something to say before Celery asks for the log.
@worker_init.connect
@setup_logging.connect
def open_log(**_: Any) -> None:
    configure_logging("worker")
    logging.getLogger(consumer.__name__).addFilter(tell_of_broker)


@worker_init.connect
def refuse_what_cannot_be(**_: Any) -> None:
    """End a worker whose settings would end each of its sessions. Celery swallows any other exception here."""
    if queue.SESSIONS in app.amqp.queues.consume_from:
        try:
            this_host()
        except SettingsError as error:
            sys.exit(f"agent-runners: {error}")


@worker_init.connect
def require_same_key(**_: Any) -> None:
    """End a worker whose secret key is another one than the deployment's: it could read no credential."""
    db.configure(settings().database)
    try:
        # Without its database the worker starts all the same, and waits for it.
        with contextlib.suppress(db.DatabaseError), db.transaction():
            secret_key.require_same()
    except secret_key.OtherSecretKey as error:
        sys.exit(f"agent-runners: {error}")
    finally:
        db.close()


@worker_init.connect
def warn_of_a_shared_name(sender: Any, **_: Any) -> None:
    """Warn where another worker has this one's name: what is asked of one of them reaches both.

    Asked before there is a pool, on a connection that is closed afterwards: a process that is forked while a connection
    waits for an answer inherits it, and waits for the same answer when it closes it.
    """
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=2)
            answers = app.control.broadcast(
                "ping", destination=[sender.hostname], reply=True, limit=1, timeout=NAME_SECONDS, connection=connection
            )
    except OperationalError:
        # Celery names the broker that cannot be reached, and tries again.
        return
    if answers:
        remedy = "Give each worker of a host a name of its own: --name NAME"
        log.warning("worker_name_is_shared", name=sender.hostname, remedy=remedy)


@worker_init.connect
def map_tables(**_: Any) -> None:
    """Once, for all the processes of the pool: they are copies of this one."""
    orm.configure_mappers()


@worker_ready.connect
def tell_what_is_missing(**_: Any) -> None:
    """Say at the start of a worker that runs agents what does not stand between them and this machine."""
    if queue.SESSIONS not in app.amqp.queues.consume_from:
        return
    for layer in layers(this_host(), limits_of(SessionLimits(settings().max_duration_seconds))):
        if layer.state != "working":
            tell = log.error if layer.state == "missing" else log.warning
            tell(f"{layer.name}_{layer.state}".replace(" ", "_"), detail=layer.detail, remedy=layer.remedy)


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
    with contextlib.suppress(*db.UNAVAILABLE), db.transaction(read_only=True):
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


def tell_of_broker(record: logging.LogRecord) -> bool:
    """Say in one line what Celery says in three of a broker that it cannot use, and which setting names it."""
    if record.msg == consumer.CONNECTION_ERROR and isinstance(record.args, tuple):
        url, error, next_step = record.args
        record.msg = "The broker %s is unavailable: %s. AGENT_RUNNERS_BROKER_URL names it and its password. %s"
        record.args = (url, str(error).rstrip("."), str(next_step).strip())
    return True
