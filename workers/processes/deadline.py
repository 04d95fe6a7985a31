"""The deadline of a forked process: when the worker's lease ends, unless the worker extends it over the connection."""

from __future__ import annotations

import socket
import time

_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Deadline:
    """A time on CLOCK_BOOTTIME, and the later ones that arrive as lines on a connection."""

    def __init__(self, connection: socket.socket, at: float) -> None:
        self._connection = connection
        self._at = at
        self._unread = b""

    @property
    def seconds_left(self) -> float:
        return self._at - time.clock_gettime(_BOOT_CLOCK)

    def fileno(self) -> int:
        """A descriptor that is readable when there is something for `read`."""
        return self._connection.fileno()

    def read(self) -> bool:
        """Read the deadlines that the worker has sent. False if the connection is closed, so the process must end."""
        try:
            chunk = self._connection.recv(4096)
        except ConnectionResetError:
            return False
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        if lines:
            self._at = float(lines[-1])
        return bool(chunk)
