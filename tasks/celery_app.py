"""The Celery application as workers run it: `celery -A tasks.celery_app worker`.

Web processes never import this package; they send tasks by name through `app.queue`.
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

import workers
from app import db, queue
from app.config import settings
from app.logs import configure_logging
from app.models.limits import SessionLimits
from app.services import secret_key
from app.services.execution import scheduling
from app.setting_values import SettingsError
from tasks.extensions import commands
from tasks.extensions.bootsteps import BeatCheck, ForkServer, HostSweep, MirrorRefresh
from tasks.jobs.host import this_host
from tasks.jobs.session_jobs import limits_of
from tasks.startup.prices import load_prices
from tasks.startup.warm_up import warm_up
from workers.sandbox.layers import layers

log = structlog.get_logger()
NAME_SECONDS = 0.5
"""How long another worker of the same name gets to answer."""
# Celery warns at length about running as root. Agents of a worker that is root run as a user of their own.
warnings.filterwarnings("ignore", category=SecurityWarning)
# It also warns that the default of `worker_cancel_long_running_tasks_on_connection_loss` will change. We set it.
warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
app = queue.celery()
app.steps["consumer"].update((ForkServer, HostSweep, MirrorRefresh, BeatCheck))
MODULES = {
    queue.SESSIONS: ("tasks.sessions",),
    queue.CONTROL: (
        "tasks.publications",
        "tasks.webhooks",
        "tasks.preflights",
        "tasks.comparisons",
        "tasks.forge_accounts",
        "tasks.forge_deliveries",
    ),
    queue.SWEEP: ("tasks.sweep",),
}
"""The modules with the tasks of each queue. A worker imports those of its own."""
app.conf.imports = tuple(module for modules in MODULES.values() for module in modules)
app.conf.worker_consumer = "tasks.extensions.consumer:SafeConsumer"
app.conf.result_backend = "tasks.extensions.results:NoResults"
app.conf.beat_schedule = {
    "sweep": {
        "task": queue.SWEEP_ALL,
        "schedule": settings().sweep_seconds,
        # A sweep that no worker ran in time can expire: the next one does the same.
        "options": {"expires": settings().sweep_seconds * 2},
    }
}


commands.restrict()


# What follows may have something to say before Celery asks for the log.
@worker_init.connect
@setup_logging.connect
def open_log(**_: Any) -> None:
    configure_logging("worker")
    logging.getLogger(consumer.__name__).addFilter(explain_broker_error)


@worker_init.connect
def check_settings(**_: Any) -> None:
    """Exit if the settings would make every session fail. Celery swallows any exception here but SystemExit."""
    if queue.SESSIONS in app.amqp.queues.consume_from:
        try:
            this_host()
            load_prices()
        except SettingsError as error:
            sys.exit(f"agent-runners: {error}")


@worker_init.connect
def require_same_key(**_: Any) -> None:
    """Exit if the worker's secret key is not the deployment's: it could read no credential."""
    db.configure(settings().database)
    try:
        # If the database is unavailable, the worker starts anyway and waits for it.
        with contextlib.suppress(db.DatabaseError), db.transaction():
            secret_key.require_same()
    except secret_key.OtherSecretKey as error:
        sys.exit(f"agent-runners: {error}")
    finally:
        db.close()


@worker_init.connect
def warn_of_a_shared_name(sender: Any, **_: Any) -> None:
    """Warn where another worker has this one's name: a command sent to one reaches both.

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
    """Configure the mappers once, before the pool's processes are forked from this one."""
    orm.configure_mappers()


@worker_init.connect
def prepare_pool(**_: Any) -> None:
    """Do once what each process of a pool that runs sessions would do for itself."""
    if queue.SESSIONS in app.amqp.queues.consume_from:
        warm_up()


@worker_init.connect
def start_fork_server(**_: Any) -> None:
    """Start it before the pool's processes are forked, so that they share it."""
    if ForkServer.is_needed(app):
        workers.start_fork_server()


@worker_ready.connect
def log_missing_layers(**_: Any) -> None:
    """When a session worker starts, log each layer of isolation between agents and this machine that does not work."""
    if queue.SESSIONS not in app.amqp.queues.consume_from:
        return
    for layer in layers(this_host(), limits_of(SessionLimits(settings().max_duration_seconds))):
        if layer.state != "working":
            write = log.error if layer.state == "missing" else log.warning
            write(f"{layer.name}_{layer.state}".replace(" ", "_"), detail=layer.detail, remedy=layer.remedy)


@beat_embedded_init.connect
def end_beat_with_worker(**_: Any) -> None:
    """End beat when its sweep worker was killed. It is a process of its own and would enqueue sweeps for ever."""
    worker = os.getppid()

    def watch() -> None:
        while os.getppid() == worker:
            time.sleep(1)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


@worker_process_init.connect
def open_database(**_: Any) -> None:
    """Open the connections of one process of the pool: connections must not be shared across a fork."""
    db.configure(settings().database)
    if queue.SESSIONS in app.amqp.queues.consume_from:
        # In a thread, because an unavailable database would keep the process from starting.
        threading.Thread(target=_connect, daemon=True).start()


def _connect() -> None:
    """Connect, so that the first session does not wait for it.

    It also waits for its own copies of the pages that a query writes to, which are several megabytes.
    """
    # The database may be unavailable, or have no tables yet.
    with contextlib.suppress(*db.UNAVAILABLE, db.DatabaseError), db.transaction(read_only=True):
        scheduling.find_next()
        scheduling.plan_next()


@worker_process_shutdown.connect
def flush_dispatches(**_: Any) -> None:
    """Send the messages still in the queue's thread before a process of the pool ends: it runs no `atexit` handlers."""
    queue.flush()


@task_prerun.connect
def name_request(task: Any, **_: Any) -> None:
    """Add the id of the API request that enqueued the task, if there was one, to each of its log lines."""
    structlog.contextvars.clear_contextvars()
    if request_id := task.request.get(queue.REQUEST_ID):
        structlog.contextvars.bind_contextvars(request_id=request_id)


def explain_broker_error(record: logging.LogRecord) -> bool:
    """Shorten Celery's three lines about an unavailable broker to one that names the setting."""
    if record.msg == consumer.CONNECTION_ERROR and isinstance(record.args, tuple):
        url, error, next_step = record.args
        record.msg = "The broker %s is unavailable: %s. AGENT_RUNNERS_BROKER_URL names it and its password. %s"
        record.args = (url, str(error).rstrip("."), str(next_step).strip())
    return True
