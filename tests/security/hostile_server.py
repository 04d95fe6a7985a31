"""A server that answers whatever a test says."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.listening import Listener, hang_up

Reply = Callable[[str], Iterable[bytes]]


@dataclasses.dataclass
class Server:
    port: int
    asked: list[str] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def serving(reply: Reply) -> Iterator[Server]:
    """A server that sends the chunks of `reply`, which gets the target of the request, and closes the connection."""

    def take(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            server.asked.append(head.decode())
            for chunk in reply(head.decode().split()[1]):
                connection.sendall(chunk)
            hang_up(connection)

    with Listener(take) as listener:
        server = Server(listener.port)
        yield server


def answer(data: Any, *headers: str, status: int = 200) -> bytes:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
