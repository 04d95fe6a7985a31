"""Ports for the servers of tests."""

from __future__ import annotations

import contextlib
import random
import socket

_FIRST, _END, _TOGETHER = 20_000, 30_000, 4
_held: list[socket.socket] = []


def free_port() -> int:
    """A port that is free, as are the next three; below those that the system hands out by itself.

    Servers listen some time later, and tests run in several processes at once. So they are this process's until it ends.
    """
    while True:
        port = random.randrange(_FIRST, _END, _TOGETHER)
        # The kernel frees a name in this namespace with the socket.
        holder = socket.socket(socket.AF_UNIX)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            holder.bind(f"\0agent-runners-test-port-{port}")
            for number in range(port, port + _TOGETHER):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
            _held.append(holder)
            return port
        holder.close()
