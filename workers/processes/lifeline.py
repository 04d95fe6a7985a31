"""The deadline of an attempt's processes, which the holder of the lease extends.

Every process that the engine starts runs under a supervisor (`workers/processes/supervisor.py`), which kills the whole
tree when its deadline passes or its connection is closed. A lifeline extends the deadline of all of them at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

from workers.errors import Interrupted

# CLOCK_BOOTTIME includes the time that a machine was suspended, so a deadline also passes during a suspension.
BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_time() -> float:
    """Seconds on the clock that deadlines are measured with; the same for every process of the machine."""
    return time.clock_gettime(BOOT_CLOCK)


class Lifeline:
    """A deadline shared by the supervisors of one attempt. Safe to use from several threads."""

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._connections: set[int] = set()
        self._deadline = boot_time() + seconds

    @property
    def deadline(self) -> float:
        """When the processes are killed unless it is extended, on the clock of `boot_time`."""
        return self._deadline

    @property
    def has_expired(self) -> bool:
        """Whether the deadline has passed, for example because the worker was suspended or lost the database."""
        return boot_time() >= self._deadline

    def check(self) -> None:
        """Raise Interrupted if the deadline has passed."""
        if self.has_expired:
            raise Interrupted("the attempt's deadline has passed, because its lease could not be extended")

    def extend_to(self, deadline: float) -> None:
        """Extend the deadline, on the clock of `boot_time`. An earlier deadline, or any after `cut`, is ignored."""
        with self._lock:
            if self._deadline:
                self._deadline = max(self._deadline, deadline)
                self._send_deadline()

    def cut(self) -> None:
        """Kill every process of the attempt now, and any that is started later."""
        with self._lock:
            self._deadline = 0.0
            self._send_deadline()

    @contextlib.contextmanager
    def attached(self, connection: int) -> Iterator[None]:
        """Send the deadline, and each change of it, to the supervisor at the other end of `connection`, a descriptor
        that does not block."""
        with self._lock:
            self._connections.add(connection)
            self._send_deadline()
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _send_deadline(self) -> None:
        line = f"{self._deadline:.3f}\n".encode()
        for connection in self._connections:
            # A supervisor that has ended needs no deadline. One that does not read is stopped, and keeps its old one.
            with contextlib.suppress(ConnectionError, BlockingIOError):
                os.write(connection, line)
