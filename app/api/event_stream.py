"""Event streams as responses: the connection is passed on, and the server's thread is free again."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Response
from werkzeug.http import http_date
from werkzeug.wsgi import ClosingIterator

from app.serving.outlet import Outlet
from app.streams import admission
from app.streams.hub import hub
from app.streams.listener import Connection, Listener

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_CHUNK = 64 * 1024


class EventStream(Response):
    """The response to a listener. Everything around it, such as authentication and headers, is that of other responses."""

    def __init__(self, listener: Listener) -> None:
        admission.admit(listener)
        super().__init__(status=200, headers=_HEADERS, content_type="text/event-stream; charset=utf-8")
        self._listener = listener

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "HEAD":
            return super().__call__(environ, start_response)
        headers = [(name, value) for name, value in self.headers if name != "Content-Length"]
        start_response(self.status, headers)
        served = environ.get("gunicorn.socket")
        if isinstance(served, Outlet):
            is_chunked = environ["SERVER_PROTOCOL"] == "HTTP/1.1"
            head = _head(self.status, headers, is_chunked)
            hub().add(self._listener, Connection(served.detach(), head, is_chunked))
            return []
        # Another server keeps its connection, and a thread for it.
        ours, theirs = socket.socketpair()
        hub().add(self._listener, Connection(theirs))
        return ClosingIterator(iter(lambda: ours.recv(_CHUNK), b""), ours.close)


def _head(status: str, headers: list[tuple[str, str]], is_chunked: bool) -> bytes:
    own = [("Date", http_date()), ("Connection", "close"), *([("Transfer-Encoding", "chunked")] if is_chunked else [])]
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in [*headers, *own]), "", ""]
    return "\r\n".join(lines).encode("latin-1")
