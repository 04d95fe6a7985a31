"""The pool of a session worker: each process runs one session, and a spare one waits for the next."""

from __future__ import annotations

import time
from typing import Any

from celery.concurrency.asynpool import Worker

from tasks.extensions.pool import BoundedPool, WorkerPool
from tasks.recovery import lost_tasks

_LOOK_SECONDS, _LOOKS = 0.002, 50
"""How often, and how many times, a process looks whether the pool has read its result, before billiard's looks begin."""


class OneTaskWorker(Worker):
    """What a process of the pool does."""

    def _ensure_messages_consumed(self, completed: int) -> bool:
        """Wait until the pool has read the result. It takes a moment, and billiard looks each tenth of a second: then the
        process would be replaced while the next session starts its agent."""
        # Without the lock of the number: a process that is killed with it would hold it for ever.
        ready = self.on_ready_counter.get_obj()
        for _ in range(_LOOKS):
            if ready.value >= completed:
                break
            time.sleep(_LOOK_SECONDS)
        return bool(super()._ensure_messages_consumed(completed))


class OneTaskPool(BoundedPool):
    """Processes that run one task each, and a spare one.

    A process ends with its task and is replaced meanwhile. The next task starts in the spare one. With more of them, tasks
    would start some hundredths of a second sooner where several end at once and others wait; each takes 12 MB.
    """

    Worker = OneTaskWorker
    requeue = staticmethod(lost_tasks.requeue)
    spare = 1

    def __init__(self, processes: int, *args: Any, **options: Any) -> None:
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
