"""Messages of event streams. See https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.errors import AppError
from app.schemas.event import event_json
from app.services.event_streams import Found

HEARTBEAT, DONE = "heartbeat", "done"


@dataclass(frozen=True)
class Batch:
    """Messages that go to many clients, encoded once."""

    text: bytes

    @cached_property
    def chunk(self) -> bytes:
        """As a chunk of an HTTP/1.1 body (RFC 9112, section 7.1)."""
        return b"%x\r\n%b\r\n" % (len(self.text), self.text)


def events(found: Found) -> Batch:
    return Batch(b"".join(message(event.kind, event_json(event), position) for position, event in found.events))


def message(name: str, data: dict[str, Any], position: object = None) -> bytes:
    """One message. One without an id does not change where a client resumes."""
    id_line = "" if position is None else f"id: {position}\n"
    return f"{id_line}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def heartbeat(state: str | None, position: object = None) -> Batch:
    """Says that the stream is alive, and in which state its session is."""
    return Batch(message(HEARTBEAT, {"state": state} if state else {}, position))


def done(state: str | None, position: object) -> Batch:
    """The last message of a stream that has ended."""
    return Batch(message(DONE, {"state": state}, position))


def refusal(error: AppError) -> Batch:
    """The last message to a client that may no longer listen."""
    return Batch(message(DONE, {"error_code": error.error_code, "message": error.message}))
