"""A port of this machine whose connections are dealt with by a test."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


class Listener:
    """Listens on a free port until it is closed, also as a context manager. Each connection is given to `take` in a
    thread of its own."""

    def __init__(self, take: Callable[[socket.socket], None], address: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._take = take
        self._socket = socket.create_server((address, 0), family=family, backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The thread ends first: one that is about to call accept(2) would take the connections of whatever is given the
        same descriptor next, such as the server of another test."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._take, args=[connection], daemon=True).start()


def hang_up(connection: socket.socket) -> None:
    """End the answer, and wait for the client to close. A connection that is closed with unread data is reset, and the
    client may lose the answer."""
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65536):
        pass
