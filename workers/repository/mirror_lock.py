"""The lock of a mirror. Fetches and repairs of one mirror run one at a time."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator

from workers.errors import FetchBusy
from workers.processes.launch import holding
from workers.processes.lifeline import Lifeline
from workers.repository.fetch import translate_timeout
from workers.repository.git import Git

_POLL_SECONDS = 0.05


@contextlib.contextmanager
def mirror_lock(
    git: Git, lifeline: Lifeline, wait_seconds: float | None, patience: float | None = None
) -> Iterator[bool]:
    """Hold the lock of the mirror that `git` runs on. Yields whether it is held.

    Waits for at most `wait_seconds`, and then raises EngineError `fetch_timeout`; with None it does not wait. After the
    shorter time `patience`, if there is one, it raises FetchBusy. Another
    process holds the lock, which ends with the lifeline as a fetch does: a worker that dies or freezes blocks others for
    no longer than its lease.
    """
    with contextlib.ExitStack() as held:
        with open(f"{git.directory}.lock", "ab") as lock:
            is_ours = _try_lock(lock.fileno())
            if not is_ours and wait_seconds is not None:
                _wait_for(lock.fileno(), git, wait_seconds, wait_seconds if patience is None else patience)
                is_ours = True
            if is_ours:
                held.enter_context(holding(lock.fileno(), lifeline))
        yield is_ours


def _wait_for(lock: int, git: Git, seconds: float, patience: float) -> None:
    began = time.monotonic()
    with translate_timeout():
        while not _try_lock(lock):
            git.check_time(began + seconds)
            if time.monotonic() >= began + patience:
                raise FetchBusy
            time.sleep(_POLL_SECONDS)


def _try_lock(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
