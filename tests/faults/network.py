"""A network between a worker and the broker that can be cut: nothing is refused or closed, nothing comes through."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.listening import Listener


class Network:
    """A TCP port that leads to a unix socket. While it is cut, new connections are taken and silent as well."""

    def __init__(self, target: Path) -> None:
        self._target = str(target)
        self._whole = threading.Event()
        self._whole.set()
        self._listener = Listener(self._connect)
        self.url = f"redis://127.0.0.1:{self._listener.port}/0"

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        """What was sent meanwhile arrives now, as a network sends again what was not acknowledged."""
        self._whole.set()

    def close(self) -> None:
        self._whole.set()
        self._listener.close()

    def _connect(self, near: socket.socket) -> None:
        self._whole.wait()
        with near, socket.socket(socket.AF_UNIX) as far, contextlib.suppress(OSError):
            far.connect(self._target)
            back = threading.Thread(target=self._carry, args=[near, far], daemon=True)
            back.start()
            self._carry(far, near)
            back.join()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._whole.wait()
                target.sendall(data)
        self._whole.wait()
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def network(target: Path) -> Iterator[Network]:
    made = Network(target)
    try:
        yield made
    finally:
        made.close()
