"""One client of an event stream: its connection, on the hub's event loop."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from app.config import settings
from app.services.callers import Caller
from app.services.event_streams import Position, Source
from app.streams.messages import Batch

# What a client may leave unread, in the process and in the kernel each. Beyond that it is passed over.
MOST_UNSENT_BYTES = 64 * 1024
# A client that has not even read so many heartbeats is given up, as is one whose machine is gone without a word.
MOST_HEARTBEATS_UNREAD = 4


@dataclass(frozen=True)
class Connection:
    """A client's socket, and what HTTP wants around the events: the head of the response, and chunks where it knows them."""

    socket: socket.socket
    head: bytes = b""
    is_chunked: bool = False


class Listener(asyncio.Protocol):
    """Sends events to one client. While the client reads slower than they come, it is passed over, and catches up later.

    All methods run on the hub's loop, and all that is kept for a client is what its connection has not taken yet.
    """

    def __init__(self, caller: Caller, source: Source, position: Position, greeting: Batch | None = None) -> None:
        self.caller, self.source, self.position, self._greeting = caller, source, position, greeting
        self.is_behind = True
        """Whether there may be events after `position`."""
        self.last_sent = 0.0
        self._paused_at: float | None = None
        """When the client last read something, of more than it has taken yet."""
        self._unsent = 0
        self._transport: asyncio.Transport | None = None

    @property
    def can_take(self) -> bool:
        return self._transport is not None and self._paused_at is None and not self._transport.is_closing()

    async def connect(
        self, connection: Connection, on_ready: Callable[[Listener], None], on_lost: Callable[[Listener], None]
    ) -> None:
        """Take the connection over, and send the head of the response."""
        self._on_ready, self._on_lost, self._connection = on_ready, on_lost, connection
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_UNSENT_BYTES)
        if connection.socket.family != socket.AF_UNIX and sys.platform == "linux":
            milliseconds = round(_patience() * 1000)
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: self, connection.socket)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=MOST_UNSENT_BYTES)
        if self._connection.head:
            self._transport.write(self._connection.head)
        self.last_sent = asyncio.get_running_loop().time()
        if self._greeting:
            self.send(self._greeting, self.last_sent)
        self._on_ready(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._paused_at = asyncio.get_running_loop().time()

    def resume_writing(self) -> None:
        self._paused_at = None
        self.is_behind = True
        self._on_ready(self)

    def send(self, batch: Batch, now: float) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(batch.chunk if self._connection.is_chunked else batch.text)
            self.last_sent = now

    def end(self, last: Batch) -> None:
        """Send a last message, and close the connection once it is sent."""
        if self._transport is not None and not self._transport.is_closing():
            self.send(last, self.last_sent)
            if self._connection.is_chunked:
                self._transport.write(b"0\r\n\r\n")
            self._paused_at = asyncio.get_running_loop().time()
            self._transport.close()

    def drop_if_stalled(self, now: float) -> None:
        """Close the connection of a client that has read nothing for long. It can resume after its last event."""
        if self._paused_at is None or self._transport is None:
            return
        unsent, before = self._transport.get_write_buffer_size(), self._unsent
        self._unsent = unsent
        if unsent < before:
            self._paused_at = now
        elif now - self._paused_at > _patience():
            self._transport.abort()


def _patience() -> float:
    return MOST_HEARTBEATS_UNREAD * settings().stream_heartbeat_seconds
