"""The connections of `mcp --http`: uvicorn's, except that those without a request end by themselves or give way to others.

Uvicorn waits for the head of a request without a limit, so connections that send none, or a part of one, would need no
token to keep everybody else out.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

MOST_CONNECTIONS = 500


class Connection(H11Protocol):
    """One connection. A process keeps `most` of them."""

    most = MOST_CONNECTIONS
    head_seconds = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()
        if len(self.connections) > self.most:
            self._make_room()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_request()

    def _await_request(self) -> None:
        """Close the connection unless the whole head of another request arrives in time."""
        self.waiting_since = self.loop.time()
        self.loop.call_later(self.head_seconds, self._end_wait, self.cycle)

    def _end_wait(self, last: RequestResponseCycle | None) -> None:
        if self.cycle is last:
            self.transport.close()

    def _make_room(self) -> None:
        """Close a connection without a request: of the address that has the most of them, the one that waits longest."""
        waiting = [
            each
            for each in self.connections
            if isinstance(each, Connection) and (each.cycle is None or each.cycle.response_complete)
        ]
        (address, _), *_ = Counter(map(_address, waiting)).most_common(1)
        longest = min((each for each in waiting if _address(each) == address), key=lambda each: each.waiting_since)
        # Uvicorn would hear of its end only after the next request.
        self.connections.discard(longest)
        longest.transport.abort()


def _address(connection: Connection) -> str:
    return connection.client[0] if connection.client else ""
