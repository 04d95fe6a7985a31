"""How a request gets to a process of low priority, which serves the accounts that use much processor time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import mmap
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from app.serving.intake import IN_MEMORY_BYTES, Request

NICENESS = 10
"""By how much that of a process of low priority is higher. That of agents is as high."""
MISSING_SECONDS = 5.0
"""How long receivers are silent before they count as missing. Each one is heard of every second."""
_MOST_BYTES = IN_MEMORY_BYTES + 4096
_STEP = 256 * 1024
_TAKING, _SENDERS, _FIRST_RECEIVER = 0, 1, 2


def with_receivers(senders: int) -> int:
    """How many processes a server has if so many accept connections: half as many have a low priority, and at least one."""
    return senders + max(senders // 2, 1)


def receivers_among(processes: int) -> int:
    """How many of so many have a low priority."""
    return max(processes // 3, 1)


@dataclass(frozen=True)
class Passed:
    """A connection, and what another process has received on it of a request."""

    sock: socket.socket
    client: Any
    """The address of the client, as `accept` returns it."""
    server: Any
    """The address that it has connected to, as `getsockname` returns it."""
    received: bytes | int
    """The bytes, or the descriptor of a file with them."""

    def chunks(self) -> Iterator[bytes]:
        """What was received."""
        if isinstance(self.received, bytes):
            yield self.received
            return
        with os.fdopen(self.received, "rb") as file:
            file.seek(0)
            while chunk := file.read(_STEP):
                yield chunk


class Handover:
    """Made before the processes of a server are forked. Some of them become receivers, and the others are senders."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sender, self.receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for each in (self._sender, self.receiver):
            each.setblocking(False)
        # A lock on a byte of it ends with the process that holds it, so that the next one takes its place.
        self._roles = tempfile.TemporaryFile()  # noqa: SIM115
        self._last_heard = memoryview(mmap.mmap(-1, 8)).cast("d")
        """When a receiver was heard of last, in memory that all processes share."""
        self._last_heard[0] = -math.inf

    def close(self) -> None:
        """Leave it to the processes that were forked already."""
        for each in (self._sender, self.receiver, self._roles):
            each.close()

    # Roles

    def take_role(self, receivers: int) -> bool:
        """Become one of so many receivers, unless there are as many, or no sender. Returns whether this process is one now."""
        # One process after the other.
        fcntl.lockf(self._roles, fcntl.LOCK_EX, 1, _TAKING)
        is_receiver = not self.is_without_sender() and any(
            self._lock(_FIRST_RECEIVER + place, fcntl.LOCK_EX) for place in range(receivers)
        )
        if not is_receiver:
            # A receiver that looks for senders has an exclusive lock for a moment.
            fcntl.lockf(self._roles, fcntl.LOCK_SH, 1, _SENDERS)
        fcntl.lockf(self._roles, fcntl.LOCK_UN, 1, _TAKING)
        return is_receiver

    def is_without_sender(self) -> bool:
        """Whether no process has become a sender, or all have ended."""
        is_free = self._lock(_SENDERS, fcntl.LOCK_EX)
        if is_free:
            fcntl.lockf(self._roles, fcntl.LOCK_UN, 1, _SENDERS)
        return is_free

    def _lock(self, place: int, kind: int) -> bool:
        try:
            fcntl.lockf(self._roles, kind | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        return True

    def note_receiver(self) -> None:
        """Note that this process is there, and not held up."""
        self._last_heard[0] = self._clock()

    def has_receiver(self) -> bool:
        """Whether there is a receiver that is not held up."""
        return self._clock() - self._last_heard[0] < MISSING_SECONDS

    # Requests

    def send(self, sock: socket.socket, client: Any, server: Any, request: Request) -> bool:
        """Pass a request on. Returns whether there was room for it. The sender keeps its descriptors, and closes them."""
        try:
            content, files = request.content()
            text = json.dumps([client, server]).encode() + b"\n" + content
            socket.send_fds(self._sender, [text], [sock.fileno(), *files])
        except OSError:
            return False
        return True

    def receive(self) -> Passed | None:
        """The next request, if there is one. Raises OSError while this process may open no more files."""
        # Descriptors of a request that cannot be opened would be lost.
        with contextlib.ExitStack() as room:
            for _ in range(2):
                room.callback(os.close, os.dup(self.receiver.fileno()))
        try:
            text, descriptors, flags, _ = socket.recv_fds(self.receiver, _MOST_BYTES, 2, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        if not descriptors or flags & socket.MSG_CTRUNC:
            # Another thread was quicker. The client sees that its connection is closed.
            for each in descriptors:
                os.close(each)
            return None
        addresses, _, content = text.partition(b"\n")
        client, server = (tuple(each) if isinstance(each, list) else each for each in json.loads(addresses))
        sock, *files = descriptors
        return Passed(socket.socket(fileno=sock), client, server, files[0] if files else content)


def lower_priority() -> None:
    """Leave the processors to others. The process leads a session of processes, since Linux may share processors among
    these (`autogroup` in sched(7))."""
    os.setsid()
    os.nice(NICENESS)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as group:
        group.write(str(NICENESS))
