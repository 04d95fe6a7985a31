"""The only module that sends to Celery. Callers never wait for the broker.

A message is only a hint: the database holds the work to do, and the sweep dispatches again what was lost here. One
thread of this process talks to the broker. It gives up quickly, and drops messages while the broker is unavailable.
"""

from __future__ import annotations

import atexit
import functools
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable

import structlog
from celery import Celery

from app.config import settings

log = structlog.get_logger()

SESSIONS, CONTROL, SWEEP = "sessions", "control", "sweep"
RUN_SESSION, PUBLISH, SWEEP_ALL = "sessions.run", "control.publish", "sweep.all"
COLLECT_GARBAGE, CHECK_PULL_REQUESTS = "control.collect_garbage", "control.check_pull_requests"
DELIVER_WEBHOOK, RUN_PREFLIGHT = "control.deliver_webhook", "control.run_preflight"
COMPARE_SESSIONS, FOLLOW_FORGE = "control.compare_sessions", "control.follow_forge"
CONNECT_FORGE_ACCOUNT, DELETE_ARTIFACTS = "control.connect_forge_account", "control.delete_artifacts"
MAX_WAITING_MESSAGES = 10_000
REFRESH_MIRRORS = "refresh_mirrors"
BACKOFF_SECONDS = 1.0
REQUEST_ID = "agent_runners_request_id"


@functools.cache
def celery() -> Celery:
    """The Celery application; `tasks` adds the task definitions. Settings as measured on Celery 5.7 with Redis."""
    app = Celery("agent_runners", broker=settings().broker, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        # With late acknowledgement Redis delivers a task again once it runs longer than the visibility timeout.
        task_acks_late=False,
        task_ignore_result=True,
        task_default_queue=CONTROL,
        task_routes={"sessions.*": {"queue": SESSIONS}, "control.*": {"queue": CONTROL}, "sweep.*": {"queue": SWEEP}},
        worker_prefetch_multiplier=1,
        # A new process of the pool that says nothing for so long is killed; a busy machine starts one slowly.
        worker_proc_alive_timeout=30.0,
        worker_disable_prefetch=True,
        worker_send_task_events=True,
        task_send_sent_event=True,
        worker_hijack_root_logger=False,
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        # Also if the broker answers with an error: its disk or memory is full, or it has become read-only.
        broker_channel_error_retry=True,
        # When on, it ended tasks that still held their lease in the database.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_pool_acquire_timeout=3,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.3},
        broker_transport_options={
            "visibility_timeout": 86_400,
            "socket_timeout": 10,
            "socket_connect_timeout": 2,
            "health_check_interval": 10,
            "socket_keepalive": True,
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.3,
        },
    )
    return app


def send(task: str, *args: str, expires: float | None = None) -> None:
    """Enqueue `task`, named as in this module, under a fresh task id. The message expires after `expires` seconds."""
    task_id = str(uuid.uuid4())
    # The task's log lines then carry the id of the request that caused it.
    headers = {REQUEST_ID: structlog.contextvars.get_contextvars().get("request_id")}
    _publisher.put(lambda: celery().send_task(task, args, task_id=task_id, expires=expires, headers=headers))


def revoke(task_id: str) -> None:
    """Terminate a running task. It only makes a stop faster: the worker's next heartbeat notices it as well."""
    _publisher.put(lambda: celery().control.revoke(task_id, terminate=True, signal="SIGTERM"))


def refresh_mirrors() -> None:
    """Make all hosts fetch repositories that are due. If this is lost, they do it at their next turn."""
    if settings().mirror_refresh_seconds:
        _publisher.put(lambda: celery().control.broadcast(REFRESH_MIRRORS))


class _Publisher:
    """A thread that talks to the broker, started on first use in each process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._calls: queue.Queue[Callable[[], object]] = queue.Queue(MAX_WAITING_MESSAGES)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.paused_until = 0.0
        """When an unavailable broker is tried again, in seconds of the monotonic clock."""

    def put(self, call: Callable[[], object]) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
                self._thread.start()
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            log.warning("dispatch_dropped", reason="the broker has not answered for a long time")

    def _run(self) -> None:
        while True:
            call = self._calls.get()
            try:
                # A failed call takes CPU time from the requests in this process, so not every message is tried.
                if time.monotonic() >= self.paused_until:
                    call()
            except Exception as error:
                self.paused_until = time.monotonic() + BACKOFF_SECONDS
                log.warning("broker_unavailable", error=type(error).__name__, messages_dropped_seconds=BACKOFF_SECONDS)
            finally:
                self._calls.task_done()

    def flush(self, seconds: float) -> None:
        """Wait until all messages have been sent, for `seconds` at most."""
        with self._calls.all_tasks_done:
            self._calls.all_tasks_done.wait_for(lambda: not self._calls.unfinished_tasks, timeout=seconds)


_publisher = _Publisher()
# A fork copies the queue but not its thread.
os.register_at_fork(after_in_child=_publisher.reset)


def flush(seconds: float = 2.0) -> None:
    """Wait until every message so far has been sent, for `seconds` at most."""
    _publisher.flush(seconds)


atexit.register(flush)
