"""Server-sent events, read without gaps or repeats across broken connections."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from app.client.errors import ClientError, raise_for

DONE = "done"
_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Event:
    """One event of a stream: its kind (`step`, `state`, `stage`, `usage`, `publication`, `heartbeat`, `done`), id and payload."""

    kind: str
    id: str | None
    data: Any


def follow(http: httpx.Client, path: str, last_event_id: str | None, patience: float) -> Iterator[Event]:
    """Yield events up to `done`. After a broken connection, resume after the last event.

    Raises `ClientError` if the API refuses, or if nothing can be read for `patience` seconds.
    """
    last_read = time.monotonic()
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        wait = _RETRY_SECONDS
        try:
            with http.stream("GET", path, headers=headers) as response:
                if response.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
                    wait = float(response.headers.get("Retry-After", wait))
                else:
                    raise_for(response)
                    for event in parse(response.iter_lines()):
                        last_read = time.monotonic()
                        last_event_id = event.id or last_event_id
                        yield event
                        if event.kind == DONE:
                            return
        except httpx.TransportError as error:
            if time.monotonic() - last_read > patience:
                message = f"The event stream was interrupted: {error}. Poll the session, or try again later."
                raise ClientError(message) from error
        if time.monotonic() - last_read > patience:
            message = f"The event stream sent nothing for {patience:g} seconds. Poll the session, or try again later."
            raise ClientError(message)
        time.sleep(wait)


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """Events from the lines of a stream. See https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    kind, event_id, data = "message", None, list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Event(kind, event_id, json.loads("\n".join(data)))
            kind, event_id, data = "message", None, []
        elif field == "event":
            kind = value
        elif field == "id":
            event_id = value
        elif field == "data":
            data.append(value)
