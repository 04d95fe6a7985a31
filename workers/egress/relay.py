"""Relays bytes between two sockets in both directions at once, with one buffer for each direction."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_PIECE = 1 << 16


class Relay:
    """Two connected sockets. A side that stops reading stops the other from sending. It ends if both are idle."""

    def __init__(self, client: socket.socket, server: socket.socket, idle_seconds: float) -> None:
        self._client, self._server = client, server
        self._idle_seconds = idle_seconds
        self._last_active = time.monotonic()
        for each in (client, server):
            each.settimeout(idle_seconds)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        """Relay both directions until both have ended."""
        responses = self.start_responses()
        self.pump(self._client, self._server)
        responses.join()

    def start_responses(self) -> threading.Thread:
        """Relay from the server to the client, in a thread of its own."""
        thread = threading.Thread(target=self.pump, args=(self._server, self._client), daemon=True)
        thread.start()
        return thread

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        """Relay one direction to its end, and pass the end on. An error in it ends the other direction too."""
        piece = memoryview(bytearray(_PIECE))
        try:
            while size := self.receive(source, piece):
                sink.sendall(piece[:size])
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()

    def receive(self, source: socket.socket, piece: memoryview) -> int:
        """Receive like `recv_into`. Raises TimeoutError if neither side has sent anything for the idle time."""
        while True:
            try:
                size = source.recv_into(piece)
            except TimeoutError:
                if time.monotonic() - self._last_active >= self._idle_seconds:
                    raise
            else:
                self._last_active = time.monotonic()
                return size

    def abort(self) -> None:
        """End both connections, which wakes the threads that wait for them."""
        for each in (self._client, self._server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
