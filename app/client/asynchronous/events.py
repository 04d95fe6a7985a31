"""Server-sent events, read without gaps or repeats across broken connections."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import httpx

from app.client.errors import raise_for, retry_after
from app.client.events import DONE, RETRY_SECONDS, Event, Parser, Patience


async def follow(
    http: httpx.AsyncClient, path: str, last_event_id: str | None, patience: float
) -> AsyncIterator[Event]:
    """Yield events up to `done`. After a broken connection, resume after the last event.

    Raises `ClientError` if the API refuses, or if nothing can be read for `patience` seconds.
    """
    waiting = Patience(patience)
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        wait = RETRY_SECONDS
        interruption = None
        try:
            async with http.stream("GET", path, headers=headers) as response:
                if response.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
                    wait = retry_after(response) or wait
                elif not response.is_success:
                    await response.aread()
                    raise_for(response)
                else:
                    parser = Parser()
                    async for line in response.aiter_lines():
                        event = parser.feed(line)
                        if event is None:
                            continue
                        waiting.renew()
                        last_event_id = event.id or last_event_id
                        yield event
                        if event.kind == DONE:
                            return
        except httpx.TransportError as error:
            interruption = error
        waiting.check(interruption)
        await anyio.sleep(wait)
