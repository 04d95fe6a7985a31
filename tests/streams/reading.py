"""An event stream as a client sees it, byte by byte: on a socket, which a test may also leave unread."""

from __future__ import annotations

import json
import socket
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.api.calling import BASE

PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Message:
    kind: str
    id: str | None
    data: dict[str, Any]


class Stream:
    """One response of a web process. `receive_buffer` makes a client that takes little from the network at a time."""

    def __init__(self, url: str, path: str, token: str, after: str | None = None, *, receive_buffer: int = 0) -> None:
        parts = urlsplit(url)
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_SECONDS)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect((parts.hostname, parts.port))
        lines = [f"GET {BASE}{path} HTTP/1.1", f"Host: {parts.netloc}", f"Authorization: Bearer {token}"]
        lines += [f"Last-Event-ID: {after}"] if after is not None else []
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._file = self.socket.makefile("rb")
        self.last_id = after
        self._blocks: deque[bytes] = deque()
        self._head: tuple[int, dict[str, str]] | None = None

    @property
    def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers, with names in lower case."""
        if self._head is None:
            status, *headers = iter(lambda: self._file.readline().decode().strip(), "")
            pairs = (line.split(": ", 1) for line in headers)
            self._head = int(status.split()[1]), {name.lower(): value for name, value in pairs}
        return self._head

    @property
    def status(self) -> int:
        return self.head[0]

    def json(self) -> dict[str, Any]:
        """The body of a response that is not a stream."""
        found: dict[str, Any] = json.loads(self._file.read(int(self.head[1]["content-length"])))
        return found

    def messages(self, *, heartbeats: bool = False) -> Iterator[Message]:
        """The messages that were not read yet, as they come, to the end of the stream."""
        assert self.status == 200
        assert self.head[1]["transfer-encoding"] == "chunked"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._blocks or self._read_chunk():
            assert time.monotonic() < deadline, f"nothing but heartbeats came after {self.last_id}"
            fields = dict(line.split(": ", 1) for line in self._blocks.popleft().decode().split("\n"))
            self.last_id = fields.get("id", self.last_id)
            if heartbeats or fields["event"] != "heartbeat":
                yield Message(fields["event"], fields.get("id"), json.loads(fields["data"]))

    def _read_chunk(self) -> bool:
        """Read the messages of the next chunk; False at the end of the response."""
        size = self._next_size()
        chunk = self._file.read(size + 2)
        if not chunk.endswith(b"\n\n\r\n" if size else b"\r\n"):
            raise ConnectionResetError("The response is not complete.")
        *blocks, _ = chunk.split(b"\n\n")
        self._blocks.extend(blocks)
        return size > 0

    def _next_size(self) -> int:
        line = self._file.readline()
        if not line:
            raise ConnectionResetError("The response is not complete.")
        return int(line, 16)

    def close(self) -> None:
        self._file.close()
        self.socket.close()
