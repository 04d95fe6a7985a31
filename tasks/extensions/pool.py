"""The pool of a session worker: each process runs one session, and spare ones wait for the next."""

from __future__ import annotations

from typing import Any

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool

from tasks.recovery import lost_tasks

CHECK_SECONDS = 0.05
"""Interval at which a process that has closed its files is looked at until it has ended."""


class OneTaskPool(AsynPool):
    """Processes that run one task each, with half as many spare ones.

    A process ends with its task and is replaced meanwhile. The next task starts in a spare one.
    """

    def __init__(self, processes: int, *args: Any, **options: Any) -> None:
        self.spare = (processes + 1) // 2
        super().__init__(processes + self.spare, *args, **options)

    def on_job_ready(self, job: Any, i: Any, obj: Any, inqW_fd: Any) -> None:
        """Give the process of a task that has ended no other one: it is about to end. Celery would send it one."""

    def on_job_process_lost(self, job: Any, pid: int, exitcode: int) -> None:
        """Have another process requeue the session of a process that was killed."""
        if job.correlation_id is not None:
            self.apply_async(lost_tasks.requeue, ([job.correlation_id],))
        super().on_job_process_lost(job, pid, exitcode)

    def _event_process_exit(self, hub: Any, proc: Any) -> None:
        """Replace a process when it has ended.

        Celery looks once, when the process has closed its files. That is a moment before its end, and the next look
        would come after 5 s (https://github.com/celery/celery/issues/9588).
        """
        super()._event_process_exit(hub, proc)
        if proc in self._pool:
            hub.call_later(CHECK_SECONDS, self._event_process_exit, hub, proc)


class SessionPool(TaskPool):
    """Celery's pool of processes, for tasks that end their process."""

    Pool = OneTaskPool

    @property
    def num_processes(self) -> int:
        """How many tasks run at once. Celery reserves no more messages than this: none once the pool is stopped."""
        return 0 if self._pool is None else int(self._pool._processes) - int(self._pool.spare)
