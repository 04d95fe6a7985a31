"""The HTTP side of the proxy: CONNECT, and plain requests with an absolute URL. One request for each connection.

A plain request is parsed and rewritten (h11), so that only what was checked is forwarded. Tunnels are not decrypted:
their content is between the agent and the host.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus

import h11

from .addresses import is_own_machine
from .refusals import Refusals
from .relay import Relay
from .requests import Malformed, Target, forwarded, target_of
from .rules import Refused, Rules

_PIECE = 1 << 16


@dataclass(frozen=True)
class Caps:
    """Limits of one connection in bytes and seconds, and of the number of connections at once."""

    head_bytes: int = 64 * 1024
    head_seconds: float = 30
    connect_seconds: float = 10
    idle_seconds: float = 1800
    connections: int = 256


class Server:
    """Serves any number of listening sockets, each with its own rules."""

    def __init__(self, refusals: Refusals, caps: Caps | None = None) -> None:
        self._refusals = refusals
        self._caps = caps or Caps()
        self._slots = threading.BoundedSemaphore(self._caps.connections)

    def serve(self, listener: socket.socket, rules: Rules) -> None:
        """Accept connections until the socket is shut down. At the limit of connections, further clients wait."""
        while True:
            self._slots.acquire()
            try:
                client, _ = listener.accept()
            except OSError:
                self._slots.release()
                return
            threading.Thread(target=self._handle, args=(client, rules), daemon=True).start()

    def _handle(self, client: socket.socket, rules: Rules) -> None:
        try:
            # A broken connection needs no report: the agent sees it.
            with client, contextlib.suppress(OSError):
                self._answer(client, rules)
        finally:
            self._slots.release()

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
            self._refusals.add(str(target), str(refused))
            _reply(client, 403, f"{target} was refused. {refused}")
        except Malformed as error:
            self._refusals.add("a malformed request", str(error))
            _reply(client, error.status, str(error))
        except OSError as error:
            _reply(client, 502, f"{target} is unreachable: {error.strerror or error}")
        else:
            with server:
                self._relay(client, server, inbound, request, target)

    def _read_head(self, client: socket.socket, inbound: h11.Connection) -> h11.Request | None:
        """The request; None if the client closed the connection."""
        deadline = time.monotonic() + self._caps.head_seconds
        while True:
            try:
                event = inbound.next_event()
            except h11.RemoteProtocolError as error:
                # The library's message repeats the request, which may be very long.
                raise Malformed("It is not a valid HTTP request.", error.error_status_hint) from None
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                return None
            client.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = client.recv(_PIECE)
            except TimeoutError:
                message = f"Its headers were not complete after {self._caps.head_seconds:g} seconds."
                raise Malformed(message, HTTPStatus.REQUEST_TIMEOUT) from None
            if not data:
                return None
            inbound.receive_data(data)

    def _connect(self, port: int, addresses: list[str], private: bool) -> socket.socket:
        """Connect to the first address that answers. Raises Refused if that is this machine and `private` is false."""
        failure = OSError("no address")
        for address in addresses:
            try:
                server = socket.create_connection((address, port), self._caps.connect_seconds)
            except OSError as error:
                failure = error
                continue
            if not private and is_own_machine(server):
                server.close()
                raise Refused("It is an address of the worker's own machine.")
            return server
        raise failure

    def _relay(
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
        responses = relay.start_responses()
        try:
            server.sendall(outbound.send(forwarded(request, target, target.path)) or b"")
            self._relay_body(relay, client, server, inbound, outbound)
        except (OSError, h11.ProtocolError):
            relay.abort()
        responses.join()

    def _relay_body(
        self,
        relay: Relay,
        client: socket.socket,
        server: socket.socket,
        inbound: h11.Connection,
        outbound: h11.Connection,
    ) -> None:
        """Rewrite the body of the request. What the client sends after its end is ignored."""
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


def _reply(client: socket.socket, status: int, message: str) -> None:
    body = f"Agent Runners: {message}\n".encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: text/plain",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    client.settimeout(1)
    client.sendall("\r\n".join((*head, "", "")).encode() + body)
