"""The proxy's HTTP side: CONNECT, and plain requests with an absolute address; one request for each connection.

A plain request is taken apart and written anew (h11), so that what is forwarded is what was judged and nothing more.
Encryption is left alone: what is inside a tunnel is between the agent and the host that it was opened to.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus

import h11

from .refusals import Refusals
from .relay import Relay
from .requests import Malformed, Target, forwarded, target_of
from .rules import Refused, Rules

_PIECE = 1 << 16


@dataclass(frozen=True)
class Caps:
    """What one connection may use of bytes and seconds, and how many there may be at once."""

    head_bytes: int = 64 * 1024
    head_seconds: float = 30
    connect_seconds: float = 10
    idle_seconds: float = 1800
    connections: int = 256


class Server:
    """Serves any number of listening sockets, each by its own rules."""

    def __init__(self, refusals: Refusals, caps: Caps | None = None) -> None:
        self._refusals = refusals
        self._caps = caps or Caps()
        self._room = threading.BoundedSemaphore(self._caps.connections)

    def serve(self, listener: socket.socket, rules: Rules) -> None:
        """Accept connections for ever, or until the socket is shut down. Who comes when all places are taken waits."""
        while True:
            self._room.acquire()
            try:
                client, _ = listener.accept()
            except OSError:
                self._room.release()
                return
            threading.Thread(target=self._attend, args=(client, rules), daemon=True).start()

    def _attend(self, client: socket.socket, rules: Rules) -> None:
        try:
            # A connection that breaks is nothing to tell of: the agent sees it.
            with client, contextlib.suppress(OSError):
                self._answer(client, rules)
        finally:
            self._room.release()

    def _answer(self, client: socket.socket, rules: Rules) -> None:
        inbound = h11.Connection(h11.SERVER, max_incomplete_event_size=self._caps.head_bytes)
        target: Target | None = None
        try:
            request = self._read_head(client, inbound)
            if request is None:
                return
            target = target_of(request)
            server = self._connect(target.port, *rules.find(target.host, target.port))
        except Refused as refused:
            self._refusals.note(str(target), str(refused))
            _reply(client, 403, f"{target} was refused. {refused}")
        except Malformed as error:
            self._refusals.note("a malformed request", str(error))
            _reply(client, error.status, str(error))
        except OSError as error:
            _reply(client, 502, f"{target} cannot be reached: {error.strerror or error}")
        else:
            with server:
                self._carry(client, server, inbound, request, target)

    def _read_head(self, client: socket.socket, inbound: h11.Connection) -> h11.Request | None:
        """The request; None where the client has gone."""
        deadline = time.monotonic() + self._caps.head_seconds
        while True:
            try:
                event = inbound.next_event()
            except h11.RemoteProtocolError as error:
                # What the library says repeats the request, however long it is.
                raise Malformed("It is no request that HTTP knows.", error.error_status_hint) from None
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                return None
            client.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = client.recv(_PIECE)
            except TimeoutError:
                words = f"It was not complete after {self._caps.head_seconds:g} seconds."
                raise Malformed(words, HTTPStatus.REQUEST_TIMEOUT) from None
            if not data:
                return None
            inbound.receive_data(data)

    def _connect(self, port: int, addresses: list[str], private: bool) -> socket.socket:
        """Connect to the first address that answers. Raises Refused where that is this machine, and it may not be."""
        failure = OSError("no address")
        for address in addresses:
            try:
                server = socket.create_connection((address, port), self._caps.connect_seconds)
            except OSError as error:
                failure = error
                continue
            # A machine speaks to itself from the very address that it speaks to, which may be a public one.
            if not private and server.getsockname()[0] == server.getpeername()[0]:
                server.close()
                raise Refused("It is the worker's own machine.")
            return server
        raise failure

    def _carry(
        self,
        client: socket.socket,
        server: socket.socket,
        inbound: h11.Connection,
        request: h11.Request,
        target: Target,
    ) -> None:
        relay = Relay(client, server, self._caps.idle_seconds)
        if target.path is None:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            server.sendall(inbound.trailing_data[0])
            relay.run()
            return
        outbound = h11.Connection(h11.CLIENT)
        answering = relay.start_answering()
        try:
            server.sendall(outbound.send(forwarded(request, target, target.path)) or b"")
            self._carry_body(relay, client, server, inbound, outbound)
        except (OSError, h11.ProtocolError):
            relay.break_off()
        answering.join()

    def _carry_body(
        self,
        relay: Relay,
        client: socket.socket,
        server: socket.socket,
        inbound: h11.Connection,
        outbound: h11.Connection,
    ) -> None:
        """Write the body of the request anew. What the client sends after its end is never looked at."""
        piece = memoryview(bytearray(_PIECE))
        while True:
            event = inbound.next_event()
            if event is h11.NEED_DATA:
                inbound.receive_data(bytes(piece[: relay.receive(client, piece)]))
            elif isinstance(event, h11.Data):
                server.sendall(outbound.send(h11.Data(data=event.data)) or b"")
            else:
                server.sendall(outbound.send(h11.EndOfMessage()) or b"")
                return


def _reply(client: socket.socket, status: int, words: str) -> None:
    body = f"Agent Runners: {words}\n".encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: text/plain",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    client.settimeout(1)
    client.sendall("\r\n".join((*head, "", "")).encode() + body)
