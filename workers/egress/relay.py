"""Carries bytes between two sockets, in both directions at once, without ever holding more than one piece of each."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_PIECE = 1 << 16


class Relay:
    """Two connected sockets. A side that stops reading stops the other from sending; silence of both ends it."""

    def __init__(self, client: socket.socket, server: socket.socket, idle_seconds: float) -> None:
        self._client, self._server = client, server
        self._idle_seconds = idle_seconds
        self._heard = time.monotonic()
        for each in (client, server):
            each.settimeout(idle_seconds)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        """Carry both directions until both have ended."""
        answering = self.start_answering()
        self.pump(self._client, self._server)
        answering.join()

    def start_answering(self) -> threading.Thread:
        """Carry what the server says to the client, in a thread of its own."""
        thread = threading.Thread(target=self.pump, args=(self._server, self._client), daemon=True)
        thread.start()
        return thread

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        """Carry one direction to its end, and hand the end on. What breaks in it breaks the other direction too."""
        piece = memoryview(bytearray(_PIECE))
        try:
            while size := self.receive(source, piece):
                sink.sendall(piece[:size])
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self.break_off()

    def receive(self, source: socket.socket, piece: memoryview) -> int:
        """What came, as `recv_into`. Raises TimeoutError when neither side has said anything for too long."""
        while True:
            try:
                size = source.recv_into(piece)
            except TimeoutError:
                if time.monotonic() - self._heard >= self._idle_seconds:
                    raise
            else:
                self._heard = time.monotonic()
                return size

    def break_off(self) -> None:
        """End both connections, which wakes whoever waits for them."""
        for each in (self._client, self._server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
