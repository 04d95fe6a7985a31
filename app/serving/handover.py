"""How a request gets to the process of low priority, which serves the accounts that use much processor time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import tempfile
from dataclasses import dataclass
from typing import Any

from app.serving.intake import Request

NICENESS = 10
"""By how much that of the process of low priority is higher."""
_MOST_BYTES = 4096


@dataclass(frozen=True)
class Passed:
    """A connection with its request, as another process has received them."""

    sock: socket.socket
    client: Any
    """The address of the client, as `accept` returns it."""
    server: Any
    """The address that it has connected to, as `getsockname` returns it."""
    request: Request


class Handover:
    """Made before the processes of a server are forked. One of them becomes the receiver, and each other one is a sender."""

    def __init__(self) -> None:
        self._sender, self.receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for each in (self._sender, self.receiver):
            each.setblocking(False)
        # The lock on it ends with the process that holds it, so that the next one takes its place.
        self._role = tempfile.TemporaryFile()  # noqa: SIM115

    def become_receiver(self) -> bool:
        """Become the process of low priority, unless there is one. Returns whether this process is it now.

        It leads a session of processes, since Linux may share processors among these (`autogroup` in sched(7)).
        """
        try:
            fcntl.lockf(self._role, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        os.setsid()
        os.nice(NICENESS)
        with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as session:
            session.write(str(NICENESS))
        return True

    def send(self, passed: Passed) -> bool:
        """Pass a request on. Returns whether there was room for it: the sender keeps it otherwise, and closes it in any case."""
        text = json.dumps([passed.client, passed.server, passed.request.size]).encode()
        try:
            socket.send_fds(self._sender, [text], [passed.sock.fileno(), passed.request.fileno()])
        except OSError:
            return False
        return True

    def receive(self) -> Passed | None:
        """The next request, if there is one."""
        try:
            text, descriptors, _, _ = socket.recv_fds(self.receiver, _MOST_BYTES, 2)
        except BlockingIOError:
            return None
        if len(descriptors) < 2:
            # This process may open no more files. The client sees that its connection is closed.
            for each in descriptors:
                os.close(each)
            return None
        client, server, size = json.loads(text)
        sock, file = descriptors
        return Passed(socket.socket(fileno=sock), _address(client), _address(server), Request.of_file(file, size))


def _address(found: Any) -> Any:
    return tuple(found) if isinstance(found, list) else found
