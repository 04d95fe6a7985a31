"""What a client sends: bytes that are kept until they are a whole request."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from typing import Any

import h11

BodyLimit = Callable[[str, str], int]
"""The bytes that the body of a request with this method and target may have."""
MOST_HEAD_BYTES = 64 * 1024
# A longer request is kept in a file.
IN_MEMORY_BYTES = 64 * 1024
# An application notices that a body is too long when it reads more than it takes. That much is kept beyond the limit.
OVERSHOOT_BYTES = 1024 * 1024


class Request:
    """The bytes of one request, which is all that its parser gets: it reads to their end, and never waits for a client."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115
        self._is_in_file = False
        self.size = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.size += len(data)
        self._is_in_file |= self.size > IN_MEMORY_BYTES

    def cut(self, count: int) -> None:
        """Remove the last `count` bytes."""
        self.size -= count
        self._file.seek(self.size)
        self._file.truncate()

    def recv(self, count: int) -> bytes:
        return self._file.read(count)

    def content(self) -> tuple[bytes, list[int]]:
        """Its bytes, or if they are in a file the descriptor of that. Raises OSError if there is no space for them."""
        if self._is_in_file:
            self._file.flush()
            return b"", [self._file.fileno()]
        self._file.seek(0)
        return self._file.read(), []

    def rewind(self) -> None:
        self._file.seek(0)

    def close(self) -> None:
        # Of a full disk, which nobody misses the rest on.
        with contextlib.suppress(OSError):
            self._file.close()


class Intake:
    """The requests of one connection, one after the other.

    h11 only tells where a request ends. The server's own parser reads it afterwards and decides what it means.
    """

    def __init__(self, body_limit: BodyLimit) -> None:
        self._body_limit = body_limit
        self._begin()

    def _begin(self) -> None:
        self._framing = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD_BYTES)
        self.request, self._rest = Request(), b""
        """What is here of the request."""
        self._body_size, self._limit = 0, 0
        self.head: h11.Request | None = None
        """The head of the request, once it is here."""
        self.is_ready = False
        """Whether the request can be answered: it is complete, or malformed, or its body is too long."""
        self.is_last = False
        """Whether no one knows where the next request would begin."""
        self.wants_continue = False
        """Whether the client waits for `100 Continue` before it sends the body."""

    @property
    def received(self) -> int:
        """The bytes of the request that is not ready yet."""
        return self.request.size

    def feed(self, data: bytes) -> None:
        """Take what was received. Raises OSError if there is no space for it."""
        self.request.write(data)
        try:
            self._framing.receive_data(data)
            while not self.is_ready:
                event = self._framing.next_event()
                if event in (h11.NEED_DATA, h11.PAUSED):
                    break
                self._look_at(event)
        except h11.RemoteProtocolError:
            self.is_ready = self.is_last = True
        self.wants_continue = not self.is_ready and self._framing.they_are_waiting_for_100_continue

    def _look_at(self, event: Any) -> None:
        if isinstance(event, h11.Request):
            self.head = event
            self._limit = self._body_limit(event.method.decode(), event.target.decode("latin-1"))
            length = int(dict(event.headers).get(b"content-length", b"0"))
            self.is_ready = self.is_last = length > self._limit
        elif isinstance(event, h11.Data):
            self._body_size += len(event.data)
            self.is_ready = self.is_last = self._body_size > self._limit + OVERSHOOT_BYTES
        elif isinstance(event, h11.EndOfMessage):
            self.is_ready = True
            self._rest = self._framing.trailing_data[0]
            self.request.cut(len(self._rest))

    def take(self) -> Request:
        """The request that is ready. The next one begins with what was received after it."""
        request, rest = self.request, self._rest
        self._begin()
        if rest:
            self.feed(rest)
        return request

    def close(self) -> None:
        self.request.close()
