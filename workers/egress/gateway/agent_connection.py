"""The agent's connection to the gateway: its requests, and what it is answered."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import h11

from .apis import phrase

_PIECE = 1 << 16


@dataclass(frozen=True)
class Caps:
    """Limits of a gateway in bytes and seconds, and of the number of connections at once."""

    head_bytes: int = 64 * 1024
    body_bytes: int = 32 * 1024**2
    bodies_bytes: int = 96 * 1024**2
    """Of all requests together that are being passed on."""
    idle_seconds: float = 600
    connections: int = 32


class Agent:
    """The connection of the agent. Once it has closed it, nothing is sent any more, but an answer is still counted."""

    def __init__(self, client: socket.socket, caps: Caps) -> None:
        self._client = client
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=caps.head_bytes)
        self._most = caps.body_bytes
        self._method = b""
        self._is_gone = False

    def read_head(self) -> h11.Request | None:
        """The next request; None if there is none any more."""
        event = self._next()
        if not isinstance(event, h11.Request):
            return None
        self._method = event.method
        return event

    def read_body(self) -> Iterator[bytes]:
        """The body of the request, in pieces."""
        if self._http.they_are_waiting_for_100_continue:
            self._send(h11.InformationalResponse(status_code=100, headers=[]))
        while isinstance(event := self._next(), h11.Data):
            yield bytes(event.data)
        if not isinstance(event, h11.EndOfMessage):
            raise OSError("the agent closed the connection")

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Begin to answer."""
        self._send(h11.Response(status_code=status, headers=headers, reason=phrase(status)))

    def send(self, data: bytes) -> None:
        """Send a piece of the answer."""
        if data:
            self._send(h11.Data(data=data))

    def end(self) -> None:
        """End the answer."""
        self._send(h11.EndOfMessage())

    def reply(self, status: int, error: dict[str, object]) -> None:
        """Answer with an error, unless an answer has begun."""
        if self._http.our_state is h11.SEND_RESPONSE:
            self._discard_body()
            body = json.dumps(error).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            if self._http.their_state is not h11.DONE:
                headers.append((b"connection", b"close"))
            self.begin(status, headers)
            self.send(b"" if self._method == b"HEAD" else body)
            self.end()

    def abort(self) -> None:
        """Close the connection, so that the agent sees that the answer is not complete."""
        self._is_gone = True
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def goes_on(self) -> bool:
        """Whether the connection can be used for another request."""
        if self._is_gone or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def _discard_body(self) -> None:
        """Read what the agent still sends, within bounds: it would not see an answer before it has sent all."""
        size = 0
        while self._http.their_state is h11.SEND_BODY and size < self._most:
            event = self._next()
            size += len(event.data) if isinstance(event, h11.Data) else self._most

    def _next(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(self._client.recv(_PIECE))
        return event

    def _send(self, event: h11.Event) -> None:
        if self._is_gone:
            return
        try:
            self._client.sendall(self._http.send(event) or b"")
        except (OSError, h11.LocalProtocolError):
            self.abort()
