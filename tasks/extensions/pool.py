"""The pool of a session worker: each process runs one session, and spare ones wait for the next."""

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

from app.config import settings
from tasks.recovery import lost_tasks

log = structlog.get_logger()
CHECK_SECONDS = 0.05
"""Interval at which a process that has closed its files is looked at until it has ended."""
INTERRUPT_SECONDS = 15.0
"""How long interrupted tasks get to end their agents and requeue their sessions."""
CLOSE_SECONDS = 5.0
"""How long processes without a task get to end."""


class OneTaskPool(AsynPool):
    """Processes that run one task each, with half as many spare ones.

    A process ends with its task and is replaced meanwhile. The next task starts in a spare one.
    """

    requeue = staticmethod(lost_tasks.requeue)
    interrupt_seconds = INTERRUPT_SECONDS
    close_seconds = CLOSE_SECONDS
    _is_draining = False

    def __init__(self, processes: int, *args: Any, **options: Any) -> None:
        self.spare = (processes + 1) // 2
        super().__init__(processes + self.spare, *args, **options)

    def on_job_ready(self, job: Any, i: Any, obj: Any, inqW_fd: Any) -> None:
        """Give the process of a task that has ended no other one: it is about to end. Celery would send it one."""

    def on_job_process_lost(self, job: Any, pid: int, exitcode: int) -> None:
        """Have another process requeue the session of a process that was killed."""
        if job.correlation_id is not None:
            self.apply_async(self.requeue, ([job.correlation_id],))
        super().on_job_process_lost(job, pid, exitcode)

    def flush(self) -> None:
        """Drop the messages that no process was sent yet: the broker delivers them again.

        Celery also drops each one that its process has not confirmed. Its session would run on, unknown to the pool:
        not interrupted by a stop, which then waits for it, and not requeued when its process is killed.
        """
        for job in [*self._cache.values()]:
            if job.correlation_id is not None and job._write_to is None:
                job.discard()
                if job in self.outbound_buffer:
                    self.outbound_buffer.remove(job)
        self.maintain_pool()

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
        """Send SIGTERM to the processes of tasks, those of which have not confirmed theirs as well."""
        for job in {*self._cache.values()} - interrupted:
            if job.correlation_id is not None and job._write_to is not None:
                job._write_to.terminate()
                interrupted.add(job)

    def _kill(self) -> None:
        """Kill the processes that are left. The kernel unlocks their workspaces, so other workers requeue their sessions."""
        for process in self._pool:
            # One that could not be started has none to wait for.
            if process._popen is not None and process._is_alive():
                log.error("process_killed", pid=process.pid, reason="did not end in time")
                os.kill(process.pid, signal.SIGKILL)
                process.join(1)
        # At its exit, Python would wait for the pool again.
        self._terminate.cancel()

    def _repopulate_pool(self, exitcodes: Any) -> None:
        """While the pool drains, start a process only for what there is to do yet."""
        if not self._is_draining or self.outbound_buffer:
            super()._repopulate_pool(exitcodes)

    def _event_process_exit(self, hub: Any, proc: Any) -> None:
        """Replace a process when it has ended.

        Celery looks once, when the process has closed its files. That is a moment before its end, and the next look
        would come after 5 s (https://github.com/celery/celery/issues/9588).
        """
        super()._event_process_exit(hub, proc)
        if proc in self._pool:
            hub.call_later(CHECK_SECONDS, self._event_process_exit, hub, proc)


def _run(hub: Hub, seconds: float, is_over: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + seconds
    while not is_over() and time.monotonic() < give_up_at:
        hub.run_once()


class SessionPool(TaskPool):
    """Celery's pool of processes, for tasks that end their process."""

    Pool = OneTaskPool
    _pool: OneTaskPool | None

    @property
    def num_processes(self) -> int:
        """How many tasks run at once. Celery reserves no more messages than this: none once the pool is stopped."""
        return 0 if self._pool is None else int(self._pool._processes) - int(self._pool.spare)

    def on_close(self) -> None:
        """Leave the pool open until the consumer has stopped: `on_stop` closes it."""

    def on_stop(self) -> None:
        """Drain the pool within a bound: see `tasks.extensions.stopping`. Celery's waits for ever if a task does not end."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.drain(settings().soft_shutdown_seconds, lambda: state.should_terminate is not None)

    on_terminate = on_stop
