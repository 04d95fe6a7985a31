"""Many clients of one event stream, as a program: `python -m bench.event_clients URL PATH COUNT`.

Reads the value of `Authorization` from standard input, prints `listening` when all have had their first events, and at
the end of the input a list: milliseconds from each time that the agent says until some of the clients have it.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import sys
import time
from urllib.parse import urlsplit

_SAID = re.compile(rb"said-at-(\d+\.\d+)")
# So many clients at once are connecting.
CONNECTING = 50
# All clients listen, and some note when events arrive: enough for percentiles.
NOTING = 50


class Client(asyncio.Protocol):
    def __init__(self, request: bytes, is_noting: bool) -> None:
        self._request, self._is_noting, self._last = request, is_noting, b""
        self.has_events = asyncio.get_running_loop().create_future()
        self.lags: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        if not self.has_events.done():
            # What was said before the client connected comes first.
            if b"event:" in data:
                self.has_events.set_result(None)
        elif self._is_noting:
            # Title and message of a step may both have the time.
            for said in dict.fromkeys(_SAID.findall(data)):
                if said != self._last:
                    self.lags.append((now - float(said)) * 1000)
                    self._last = said


async def main(url: str, path: str, count: int) -> None:
    authorization = sys.stdin.readline().strip()
    place = urlsplit(url)
    request = f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: {authorization}\r\n\r\n".encode()
    loop, clients = asyncio.get_running_loop(), []
    for number in range(count):
        is_noting = number % max(1, count // NOTING) == 0
        _, client = await loop.create_connection(
            functools.partial(Client, request, is_noting), place.hostname, place.port
        )
        clients.append(client)
        if number % CONNECTING == CONNECTING - 1:
            await asyncio.wait_for(client.has_events, 60)
    await asyncio.wait_for(asyncio.gather(*(client.has_events for client in clients)), 60)
    # Events of before the connection may still arrive in parts.
    await asyncio.sleep(1)
    for client in clients:
        client.lags.clear()
    print("listening", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps([lag for client in clients for lag in client.lags]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
