"""The pool of a session worker: each process runs one session, and spare ones wait for the next."""

from __future__ import annotations

from typing import Any

from tasks.extensions.pool import BoundedPool, WorkerPool
from tasks.recovery import lost_tasks


class OneTaskPool(BoundedPool):
    """Processes that run one task each, with half as many spare ones.

    A process ends with its task and is replaced meanwhile. The next task starts in a spare one.
    """

    requeue = staticmethod(lost_tasks.requeue)

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


class SessionPool(WorkerPool):
    """A worker's pool, of processes that end with their task."""

    Pool = OneTaskPool
