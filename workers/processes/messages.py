"""Messages between the worker and the processes that the fork server forks: JSON, and descriptors that go with it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

LENGTH = struct.Struct("!Q")
ORDINARY, LARGE = b".", b"+"
"""What the fork server is asked for: a process for an ordinary role, or for a large one."""
_MOST_DESCRIPTORS = 16


def send(connection: socket.socket, descriptors: Sequence[int], fields: Mapping[str, Any]) -> None:
    """Send a message, with copies of `descriptors`. Nothing of it is visible in any argv or environment.

    If the other process has ended already, this does not say so.
    """
    data = json.dumps(fields).encode()
    with contextlib.suppress(ConnectionError):
        socket.send_fds(connection, [LENGTH.pack(len(data))], descriptors)
        connection.sendall(data)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Wait for a message. None if the other end was closed first. The descriptors are not inherited."""
    # An end that is closed before it has read everything resets the connection.
    with contextlib.suppress(ConnectionError):
        head, descriptors, _, _ = socket.recv_fds(connection, LENGTH.size, _MOST_DESCRIPTORS)
        for each in descriptors:
            os.set_inheritable(each, False)
        if len(head) < LENGTH.size:
            return None
        (left,) = LENGTH.unpack(head)
        data = bytearray()
        while len(data) < left:
            chunk = connection.recv(min(left - len(data), 1 << 20))
            if not chunk:
                return None
            data += chunk
        return json.loads(data), descriptors
    return None
