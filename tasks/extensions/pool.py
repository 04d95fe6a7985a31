"""The pool of processes of a worker. It ends within a bound, whatever becomes of its processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import structlog
from billiard.pool import RUN, WorkersJoined
from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool
from celery.worker import state
from kombu.asynchronous import Hub

from app import process_start
from app.config import settings

log = structlog.get_logger()
CHECK_SECONDS = 0.05
"""Interval at which a process that has closed its files is looked at until it has ended."""
INTERRUPT_SECONDS = 15.0
"""How long interrupted tasks get to end. Those of sessions end their agents and requeue their sessions."""
CLOSE_SECONDS = 5.0
"""How long processes without a task get to end."""
START_AGAIN_SECONDS = 4.0
"""After how long another process may be started if one could not. Celery looks every 5 s whether one is missing."""


class BoundedPool(AsynPool):
    """Celery's processes, with an end that waits for none of them longer than a bound."""

    interrupt_seconds = INTERRUPT_SECONDS
    close_seconds = CLOSE_SECONDS
    spare = 0
    """How many processes there are beside those that tasks may take at once."""
    _is_draining = False
    _start_at = 0.0

    def __init__(self, *args: Any, **options: Any) -> None:
        process_start.before_first_fork()
        super().__init__(*args, **options)

    def flush(self) -> None:
        """Drop the messages that no process was sent yet: the broker delivers them again.

        Celery also drops each one that its process has not confirmed. Its task would run on, unknown to the pool: not
        interrupted by a stop, which then waits for it, and a session not requeued when its process is killed.
        """
        for job in [*self._cache.values()]:
            if job.correlation_id is not None and job._write_to is None:
                job.discard()
                if job in self.outbound_buffer:
                    self.outbound_buffer.remove(job)
        self.maintain_pool()

    def process_flush_queues(self, proc: Any) -> None:
        """Read what a process that has ended still said, if anything.

        Celery looks twice, for 10 ms each, in which the worker does nothing else: it takes no message, for example.
        """
        reader = proc.outq._reader
        if not reader.closed and reader.poll(0):
            super().process_flush_queues(proc)

    def drain(self, seconds: float, is_urgent: Callable[[], bool]) -> None:
        """Let tasks go on for so many seconds, or until it is urgent. Then interrupt them, and end all processes.

        What has not ended in time is killed. Meanwhile the pool works as before: it notices processes that are lost and
        has their sessions requeued. It gets a loop of its own, without the broker: nothing waits for that.
        """
        self._is_draining = True
        self.flush()
        hub = Hub()
        try:
            self.register_with_event_loop(hub)
            hub.on_tick.add(self.on_poll_start)
            hub.call_repeatedly(CHECK_SECONDS, self._join_ended)
            _run(hub, seconds, lambda: is_urgent() or not self._cache)
            hub.call_repeatedly(CHECK_SECONDS, self._interrupt, set())
            _run(hub, self.interrupt_seconds, lambda: not self._cache)
            self.close()
            self._stop_task_handler(self._task_handler)
            _run(hub, self.close_seconds, lambda: not self._pool)
        finally:
            self._kill()
            hub.close()

    def _join_ended(self) -> None:
        if self._state == RUN:
            self.maintain_pool()
            return
        try:
            self._join_exited_workers(shutdown=True)
        except WorkersJoined:
            return

    def _interrupt(self, interrupted: set[Any]) -> None:
        """Send SIGTERM once to each process that has a task, those which have not confirmed theirs as well."""
        for job in [*self._cache.values()]:
            process = job._write_to
            if job.correlation_id is not None and process is not None and process not in interrupted:
                process.terminate_controlled()
                interrupted.add(process)

    def on_job_process_lost(self, job: Any, pid: int, exitcode: int) -> None:
        """Report a task that a stop has ended with its process as revoked. Celery takes it for an error of ours."""
        if self._is_draining and exitcode == -signal.SIGTERM:
            job._set_terminated(exitcode)
        else:
            super().on_job_process_lost(job, pid, exitcode)

    def _kill(self) -> None:
        """Kill the processes that are left. The kernel unlocks their workspaces, so other workers requeue their sessions."""
        for process in self._pool:
            if process._is_alive():
                log.error("process_killed", pid=process.pid, reason="did not end in time")
                os.kill(process.pid, signal.SIGKILL)
                process.join(1)
        # At its exit, Python would wait for the pool again.
        self._terminate.cancel()

    def _repopulate_pool(self, exitcodes: Any) -> None:
        """Start the processes that are missing; while the pool drains, only for what there is to do yet.

        If the machine has no memory for one, or no more processes, it is tried again later.
        """
        if (self._is_draining and not self.outbound_buffer) or time.monotonic() < self._start_at:
            return
        try:
            if self._start_at:
                _try_fork()
                self._start_at = 0.0
            super()._repopulate_pool(exitcodes)
        except OSError as error:
            self._start_at = time.monotonic() + START_AGAIN_SECONDS
            self._forget_unstarted()
            remedy = "Raise the limit of processes or of memory. It is tried again."
            log.error("process_not_started", error=str(error), running=len(self._pool), remedy=remedy)

    def _forget_unstarted(self) -> None:
        """Free the place of a process that could not be started. Billiard fails at each look at one that has no id."""
        for process in [each for each in self._pool if each._popen is None]:
            self._pool.remove(process)
            self._process_cleanup_queues(process)

    def _track_child_process(self, proc: Any, hub: Any) -> None:
        """Watch for the end of a process, unless it is about to end and `_event_process_exit` was called.

        Celery fails at such a process when it begins to watch all: to drain the pool, or on a new connection to the broker.
        """
        if getattr(proc, "_sentinel_poll", 0) is not None:
            super()._track_child_process(proc, hub)

    def _event_process_exit(self, hub: Any, proc: Any) -> None:
        """Replace a process when it has ended.

        Celery looks once, when the process has closed its files. That is a moment before its end, and the next look
        would come after 5 s (https://github.com/celery/celery/issues/9588).
        """
        super()._event_process_exit(hub, proc)
        if proc in self._pool:
            hub.call_later(CHECK_SECONDS, self._event_process_exit, hub, proc)


def _try_fork() -> None:
    """Raise OSError if no process can be started yet. Billiard leaves a pipe open whenever it cannot."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _run(hub: Hub, seconds: float, is_over: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + seconds
    while not is_over() and time.monotonic() < give_up_at:
        hub.run_once()


class WorkerPool(TaskPool):
    """Celery's pool, which is drained when its worker stops."""

    Pool = BoundedPool
    _pool: BoundedPool | None

    @property
    def num_processes(self) -> int:
        """How many tasks run at once. Celery reserves no more messages than this: none once the pool is stopped."""
        return 0 if self._pool is None else int(self._pool._processes) - self._pool.spare

    def on_close(self) -> None:
        """Leave the pool open until the consumer has stopped: `on_stop` closes it."""

    def on_stop(self) -> None:
        """Drain the pool within a bound: see `tasks.extensions.stopping`. Celery's waits for ever if a task does not end."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.drain(settings().soft_shutdown_seconds, lambda: state.should_terminate is not None)

    on_terminate = on_stop
