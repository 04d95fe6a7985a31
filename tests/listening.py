"""A port of this machine whose connections are dealt with by a test."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


def listen(take: Callable[[socket.socket], None]) -> socket.socket:
    """A listener on a free port; each connection is given to `take` in a thread of its own. It ends when it is closed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=take, args=[connection], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener
