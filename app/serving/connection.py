"""One connection of a web process, from request to request."""

from __future__ import annotations

import socket
import time
from typing import Any

from gunicorn.http import get_parser

from app.serving.intake import Intake, Request
from app.serving.outlet import Outlet

# A request must be here, and an answer taken, within this time and what its bytes take at this rate,
PATIENCE_SECONDS = 10.0
LEAST_BYTES_PER_SECOND = 16 * 1024
# and a request within this time in any case.
MOST_SECONDS = 900.0


class Connection:
    """What gunicorn's own class of this kind is to the worker. It starts again with each request."""

    is_http2 = initialized = False
    data_ready = True

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any, intake: Intake, outlet: Outlet) -> None:
        self.cfg, self.client, self.server = cfg, client, server
        self.socket, self.sock, self.intake = sock, outlet, intake
        self.parser: Any = None
        self.since = time.monotonic()
        """When it began to wait for what it waits for."""
        self.allowed = PATIENCE_SECONDS
        """The seconds that it may wait without a byte."""
        self.is_served = self.is_closed = self.is_ending = False
        self.read_seconds = 0.0
        """The processor time that it took to receive the request."""
        self.request: Request | None = None
        """The request that is served, or waits for that."""
        self.key: bytes | None = None
        """What it has in common with others of its caller, once its head is here."""

    def init(self) -> None:
        """Called by the thread that serves the request. One that had to wait is read again."""
        if self.request is None:
            self.is_ending |= self.intake.is_last
            self.request = self.intake.take()
        self.request.rewind()
        self.parser = get_parser(self.cfg, self.request, self.client)

    def forget_request(self) -> None:
        if self.request is not None:
            self.request.close()
        self.parser = self.request = self.key = None
        self.read_seconds = 0.0

    def begin(self, allowed: float) -> None:
        self.since, self.allowed = time.monotonic(), allowed

    def rate(self) -> float:
        """The bytes per second that the client reads of what it is sent."""
        return self.sock.sent / max(time.monotonic() - self.sock.waiting_since, 0.001)

    def deadline(self) -> float:
        if self.sock.has_unsent:
            return self.sock.waiting_since + _allowed(self.sock.sent)
        if self.intake.received:
            return self.since + min(_allowed(self.intake.received), MOST_SECONDS)
        return self.since + self.allowed


def _allowed(count: int) -> float:
    return PATIENCE_SECONDS + count / LEAST_BYTES_PER_SECOND
