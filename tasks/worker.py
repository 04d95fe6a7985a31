"""Runs a worker for one queue: `python -m tasks.worker QUEUE NAME`, started by `agent-runners worker`.

It does what `celery worker` does. That command also imports Flower and libraries for terminals, which would then be in
the memory of each process of the pool.
"""

from __future__ import annotations

import sys
from typing import Any

from app import process_start

process_start.begin()

from app import queue  # noqa: E402
from app.config import settings  # noqa: E402
from tasks.celery_app import MODULES, app  # noqa: E402

CONTROL_TASKS = 4
"""How many tasks of the queue `control` a worker runs at once. Publishing mostly waits for a forge."""


def main(queue_name: str, name: str) -> int:
    """Run the worker until it is stopped, and return its exit status. `name` must be unique on this host."""
    app.conf.imports = MODULES[queue_name]
    worker = app.subclass_with_self("tasks.extensions.stopping:BoundedWorker")(
        hostname=f"{name}@",
        queues=[queue_name],
        loglevel="WARNING",
        # Without the banner, which only repeats the settings.
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        **_options(queue_name),
    )
    worker.start()
    return worker.exitcode or 0


def _options(queue_name: str) -> dict[str, Any]:
    if queue_name == queue.SESSIONS:
        # One session per process, so that terminating the process of a session cannot hit another one.
        pool = {"pool_cls": "tasks.extensions.session_pool:SessionPool", "max_tasks_per_child": 1}
        return {**pool, "concurrency": settings().session_workers}
    pool = {"pool_cls": "tasks.extensions.pool:WorkerPool"}
    if queue_name == queue.SWEEP:
        # Without a file: each sweep worker starts its own schedule, and a sweep too many does no harm.
        return {**pool, "concurrency": 1, "beat": True, "scheduler": "celery.beat:Scheduler"}
    return {**pool, "concurrency": CONTROL_TASKS}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
