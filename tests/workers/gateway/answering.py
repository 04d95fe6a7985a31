"""A server that answers every request in the same way, in pieces."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence

import h11

from tests.listening import Listener


@contextlib.contextmanager
def answering(
    pieces: Sequence[bytes],
    *,
    between: threading.Event | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    breaks_off: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Yields the base URL. `between` is waited for after the first piece."""
    kind = "text/event-stream" if status == 200 else "application/json"
    sent = [("content-type", kind), ("transfer-encoding", "chunked"), *(headers or {}).items()]

    def take(connection: socket.socket) -> None:
        with (
            contextlib.suppress(OSError, h11.ProtocolError),
            tls.wrap_socket(connection, True) if tls else connection as connection,
        ):
            http = h11.Connection(h11.SERVER)
            while not isinstance(event := http.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
                if event is h11.NEED_DATA:
                    http.receive_data(connection.recv(65536))
            connection.sendall(http.send(h11.Response(status_code=status, headers=sent)) or b"")
            for number, piece in enumerate(pieces):
                if number and between:
                    between.wait(30)
                connection.sendall(http.send(h11.Data(data=piece)) or b"")
            if not breaks_off:
                connection.sendall(http.send(h11.EndOfMessage()) or b"")

    with Listener(take) as listener:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.port}/v1"
