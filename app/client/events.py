"""Server-sent events: what a stream's lines say, and when to give one up."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from app.client.errors import ClientError

DONE = "done"
RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Event:
    """One event of a stream: its kind (`step`, `state`, `stage`, `usage`, `publication`, `heartbeat`, `done`), id and payload."""

    kind: str
    id: str | None
    data: Any


class Parser:
    """Events from the lines of a stream. See https://html.spec.whatwg.org/multipage/server-sent-events.html."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._kind = "message"
        self._id: str | None = None
        self._data: list[str] = []

    def feed(self, line: str) -> Event | None:
        """The event that this line ends, if it does."""
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            event = Event(self._kind, self._id, json.loads("\n".join(self._data))) if self._data else None
            self._begin()
            return event
        if field == "event":
            self._kind = value
        elif field == "id":
            self._id = value
        elif field == "data":
            self._data.append(value)
        return None


class Patience:
    """Raises `ClientError` once nothing was read for a number of seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Something was read."""
        self._last_read = time.monotonic()

    def check(self, error: Exception | None) -> None:
        """`error` is what interrupted the stream, if anything did."""
        if time.monotonic() - self._last_read <= self._seconds:
            return
        said = f"was interrupted: {error}" if error else f"sent nothing for {self._seconds:g} seconds"
        raise ClientError(f"The event stream {said}. Poll the session, or try again later.") from error
