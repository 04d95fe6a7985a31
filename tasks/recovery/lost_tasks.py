"""Requeues the sessions of tasks whose process was lost on this host, without waiting for their leases to expire.

Each task that runs a session holds the lock of a file in `WORK_DIR/running`, named after it. The kernel releases the
lock when the process ends, whatever ended it. A file whose lock is free belongs to a task that was lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

import workers
from app.config import settings
from app.services.execution import repairs, session_attempts
from tasks.attempts.transactions import DatabaseUnavailable, transact
from tasks.jobs.host import this_host

log = structlog.get_logger()
AGENT_SECONDS = 10.0
"""How long the processes of a lost attempt's agent get to end. Their supervisor kills them when it misses its worker."""
_LOOK_SECONDS = 0.05


@contextlib.contextmanager
def marked(task_id: str) -> Iterator[None]:
    """Hold the lock of the task's file until the end of the block, and remove the file then.

    Without it, for example on a full disk, the session of a lost task waits for the end of its lease.
    """
    with contextlib.ExitStack() as stack:
        try:
            _folder().mkdir(parents=True, exist_ok=True)
            # It gets its name once it is locked: no one may find it before.
            new = _folder() / f".{task_id}"
            lock = stack.enter_context(open(new, "wb"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            stack.callback(new.rename(_folder() / task_id).unlink, missing_ok=True)
        except OSError as error:
            log.warning("task_not_marked", error=error.strerror)
        yield


def find() -> list[str]:
    """The ids of the tasks on this host whose process was lost."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [path.name for path in _folder().iterdir() if not path.name.startswith(".") and _is_free(path)]
    return []


def requeue(task_ids: list[str]) -> None:
    """Requeue the sessions of lost tasks, as soon as nothing of them runs any more.

    A session that another task has claimed meanwhile is left alone.
    """
    try:
        for task_id in task_ids:
            _requeue(task_id)
    except DatabaseUnavailable:
        log.warning("lost_tasks_not_requeued", reason="database_unavailable")


def _requeue(task_id: str) -> None:
    held = transact(lambda: session_attempts.find_by_task(task_id))
    if held is not None:
        session_id, attempt = held
        names = {"session_id": str(session_id), "attempt": attempt}
        if not _has_ended(str(session_id), attempt):
            # The lease of the session ends all the same, and with it the agent, at the latest.
            log.warning("agent_of_lost_task_runs_on", **names)
            return
        if transact(lambda: repairs.lose_worker(session_id, attempt)):
            log.warning("worker_lost", **names)
    (_folder() / task_id).unlink(missing_ok=True)


def _has_ended(session_id: str, attempt: int) -> bool:
    """Wait until no process of the attempt uses its workspace."""
    give_up_at = time.monotonic() + AGENT_SECONDS
    while time.monotonic() < give_up_at:
        folder = workers.find_workspaces(this_host()).get((session_id, attempt))
        if folder is None or workers.is_orphan(folder):
            return True
        time.sleep(_LOOK_SECONDS)
    return False


def _is_free(path: Path) -> bool:
    try:
        with open(path, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError:
        # Another process holds it, or has removed it.
        return False


def _folder() -> Path:
    return settings().work / "running"
