"""Holds a lock for a worker until the worker lets go of it, its lease ends, or it dies. It is a role of the fork server.

A worker that held the lock itself would still hold it while it is frozen, however long that lasts.
"""

from __future__ import annotations

import select
import socket
from typing import Any

from .deadline import Deadline


def main(connection: socket.socket, request: dict[str, Any], descriptors: list[int]) -> None:
    """Keep `descriptors` open, whose locks end with this process, until the deadline or the end of the connection."""
    deadline = Deadline(connection, request["deadline"])
    while deadline.seconds_left > 0:
        # `select` does not count the time of a suspension, so each wait is short.
        ready, _, _ = select.select([deadline], [], [], min(deadline.seconds_left, 1.0))
        if ready and not deadline.read():
            return
