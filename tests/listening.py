"""A port of this machine whose connections are dealt with by a test."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


def listen(take: Callable[[socket.socket], None], address: str = "127.0.0.1") -> socket.socket:
    """A listener on a free port. Each connection is given to `take` in a thread of its own. It ends when it is closed."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 0), family=family, backlog=128)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=take, args=[connection], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener
