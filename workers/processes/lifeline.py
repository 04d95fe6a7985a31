"""The right of child processes to go on living, extended by whoever holds the lease.

Every process that the engine starts runs under a supervisor (`workers/processes/supervisor.py`), which kills the whole tree
when its deadline passes or its pipe is closed. The holder of the lease extends all of them at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

from workers.errors import Interrupted

# CLOCK_BOOTTIME counts the time that a machine was suspended, so a deadline also passes while it sleeps.
BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_time() -> float:
    """Seconds on the clock that deadlines are measured with; the same for every process of the machine."""
    return time.clock_gettime(BOOT_CLOCK)


class Lifeline:
    """A deadline shared by the supervisors of one attempt. Safe to use from several threads."""

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._pipes: set[int] = set()
        self._deadline = boot_time() + seconds

    @property
    def deadline(self) -> float:
        """When the processes die unless they are extended, on `boot_time`."""
        return self._deadline

    @property
    def has_ended(self) -> bool:
        """Whether the deadline has passed, as it has for whoever was frozen or cut off for long."""
        return boot_time() >= self._deadline

    def check(self) -> None:
        """Raise Interrupted where the deadline has passed."""
        if self.has_ended:
            raise Interrupted("the lifeline ran out")

    def extend_to(self, deadline: float) -> None:
        """Let the processes live until `deadline`, on `boot_time`. A deadline never moves back, and never again after `cut`."""
        with self._lock:
            if self._deadline:
                self._deadline = max(self._deadline, deadline)
                self._send_deadline()

    def cut(self) -> None:
        """Kill every process of the attempt now, and each one that is started later."""
        with self._lock:
            self._deadline = 0.0
            self._send_deadline()

    @contextlib.contextmanager
    def held_by(self, pipe: int) -> Iterator[None]:
        """Keep the supervisor at the other end of `pipe` (a writable descriptor) informed of the deadline."""
        with self._lock:
            self._pipes.add(pipe)
            self._send_deadline()
        try:
            yield
        finally:
            with self._lock:
                self._pipes.discard(pipe)

    def _send_deadline(self) -> None:
        line = f"{self._deadline:.3f}\n".encode()
        for pipe in self._pipes:
            # A supervisor that has gone has nothing left to keep alive; a full pipe belongs to one that is
            # stopped, and its deadline stands as it was.
            with contextlib.suppress(BrokenPipeError, BlockingIOError):
                os.write(pipe, line)
