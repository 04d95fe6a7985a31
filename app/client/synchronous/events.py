# Made from app/client/asynchronous by bin/generate-client. Change that, and run it again.
"""Server-sent events, read without gaps or repeats across broken connections."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx

from app.client.errors import raise_for, retry_after
from app.client.events import DONE, RETRY_SECONDS, Event, Parser, Patience


def follow(http: httpx.Client, path: str, last_event_id: str | None, patience: float) -> Iterator[Event]:
    """Yield events up to `done`. After a broken connection, resume after the last event.

    Raises `ClientError` if the API refuses, or if nothing can be read for `patience` seconds.
    """
    waiting = Patience(patience)
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        wait = RETRY_SECONDS
        interruption = None
        try:
            with http.stream("GET", path, headers=headers) as response:
                if response.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
                    wait = retry_after(response) or wait
                elif not response.is_success:
                    response.read()
                    raise_for(response)
                else:
                    parser = Parser()
                    for line in response.iter_lines():
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
        time.sleep(wait)
