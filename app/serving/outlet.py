"""What a client is sent: it takes the place of the socket that a request's thread writes its answer to."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import BinaryIO

from app.serving.shares import Share

# What is written beyond this waits for the client, and the thread with it.
MOST_UNSENT_BYTES = 1024 * 1024
# What is sent of a file at once, so that others are served in between.
FILE_STEP = 512 * 1024


class Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    @property
    def left(self) -> int:
        return len(self._data)

    in_memory = left

    def send(self, sock: socket.socket) -> int:
        sent = sock.send(self._data)
        self._data = self._data[sent:]
        return sent

    def close(self) -> None:
        pass


class PartOfFile:
    """A part of an open file, which the kernel reads by itself."""

    in_memory = 0

    def __init__(self, file: BinaryIO, offset: int, count: int) -> None:
        self._descriptor = os.dup(file.fileno())
        self._offset, self.left = offset, count

    def send(self, sock: socket.socket) -> int:
        sent = os.sendfile(sock.fileno(), self._descriptor, self._offset, min(self.left, FILE_STEP))
        if not sent:
            raise BrokenPipeError(errno.EPIPE, "The file is shorter than it was.")
        self._offset += sent
        self.left -= sent
        return sent

    def close(self) -> None:
        os.close(self._descriptor)


class Outlet:
    """Sends as much as the connection takes, and keeps the rest for the server's loop, which is notified.

    It has the methods of a socket that gunicorn calls. Threads write, the loop flushes.
    """

    def __init__(self, sock: socket.socket, on_unsent: Callable[[], object]) -> None:
        self.socket = sock
        self._on_unsent = on_unsent
        self._parts: deque[Bytes | PartOfFile] = deque()
        self._changed = threading.Condition()
        self.is_detached = False
        """Whether the connection is somebody else's by now."""
        self.has_failed = False
        """Whether nothing more can be sent."""
        self.waiting_since = 0.0
        self.sent = 0
        """The bytes sent since then."""
        self.holds_thread = False
        """Whether a thread waits until the client has read more."""
        self.share: Share | None = None
        """The share in the server's threads of the request that is served."""

    @property
    def has_unsent(self) -> bool:
        return bool(self._parts)

    def sendall(self, data: bytes) -> None:
        self._add(Bytes(data))

    def send(self, data: bytes) -> int:
        self.sendall(data)
        return len(data)

    def sendfile(self, file: BinaryIO, offset: int, count: int) -> None:
        self._add(PartOfFile(file, offset, count))

    def _add(self, part: Bytes | PartOfFile) -> None:
        with self._changed:
            if self.is_detached or self.has_failed:
                part.close()
                if self.has_failed:
                    raise BrokenPipeError(errno.EPIPE, "The client is gone.")
                return
            self._parts.append(part)
            if len(self._parts) == 1:
                self.waiting_since, self.sent = time.monotonic(), 0
                self._flush()
                if self._parts:
                    self._on_unsent()
            if self._unsent_bytes() > MOST_UNSENT_BYTES:
                self.holds_thread = True
                self._on_unsent()
                self._changed.wait_for(lambda: self._unsent_bytes() <= MOST_UNSENT_BYTES)
                self.holds_thread = False
            if self.has_failed:
                raise BrokenPipeError(errno.EPIPE, "The client is gone, or reads too slowly.")

    def _unsent_bytes(self) -> int:
        return sum(part.in_memory for part in self._parts)

    def flush(self) -> None:
        """Send what the connection takes."""
        with self._changed:
            self._flush()
            self._changed.notify_all()

    def _flush(self) -> None:
        try:
            while self._parts:
                self.sent += self._parts[0].send(self.socket)
                if self._parts[0].left:
                    return
                self._parts.popleft().close()
        except BlockingIOError:
            pass
        except OSError:
            self._fail()

    def fail(self) -> None:
        """Give the client up. A thread that waits for it continues."""
        with self._changed:
            self._fail()
            self._changed.notify_all()

    def _fail(self) -> None:
        self.has_failed = True
        while self._parts:
            self._parts.pop().close()

    def detach(self) -> socket.socket:
        """The connection, which is the caller's from now on. What the server writes hereafter reaches no one."""
        with self._changed:
            self.is_detached = True
            return self.socket

    # The loop closes connections, and no thread waits for them.

    def close(self) -> None:
        self.fail()

    def shutdown(self, _how: int) -> None:
        self.fail()
        raise OSError("The server's loop ends connections.")

    def setblocking(self, _is_blocking: bool) -> None:
        pass

    def gettimeout(self) -> float:
        return 0.0
