"""The event stream of a session: `/agent_runners/:id/sessions/:session_id/events`."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

from flask import Response
from flask.views import MethodView

from app import db
from app.api import examples, listeners
from app.api.auth import caller
from app.api.blueprint import Blueprint
from app.schemas.event import MessageSchema, ResumeHeaders, event_json
from app.services import events
from app.services.callers import Caller
from app.services.events import EventBatch

PREFIX = "/api/v1/agent_runners/<uuid:agent_runner_id>/sessions/<uuid:session_id>"
POLL_SECONDS = 0.3
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

blp = Blueprint("Events", __name__, description="The events of a session, as they happen.", url_prefix=PREFIX)


@blp.route("/events")
class SessionEvents(MethodView):
    @blp.operation("streamSessionEvents", also={503: "`too_many_listeners`; carries `Retry-After`"})
    @blp.arguments(ResumeHeaders, location="headers")
    @blp.response(200, MessageSchema, content_type="text/event-stream", example=examples.MESSAGE)
    def get(self, headers: dict[str, Any], agent_runner_id: uuid.UUID, session_id: uuid.UUID) -> Response:
        """Follow a session as it happens.

        Server-sent events: `step`, `state`, `stage`, `usage`, `heartbeat` after 15 s of silence, and `done` as the last one.
        After a broken connection send the last `id` as `Last-Event-ID`, and nothing is missed or repeated.
        """
        stream = EventStream(caller(), agent_runner_id, session_id)
        first = stream.read_after(headers["last_event_id"])
        release = listeners.admit()
        response = Response(stream.messages(first, headers["last_event_id"]), 200, HEADERS)
        response.content_type = "text/event-stream; charset=utf-8"
        # The server calls this at the end of the stream, and also when the client has disconnected.
        response.call_on_close(release)
        return response


class EventStream:
    """The events of a session for one client. After `silence` seconds without an event a heartbeat is sent."""

    def __init__(self, caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID, silence: float = 15.0) -> None:
        self.ids, self.silence = (caller, runner_id, session_id), silence

    def read_after(self, seq: int) -> EventBatch:
        """Read once, in a short transaction: no connection is held while nothing happens."""
        with db.transaction(read_only=True):
            return events.read_after(*self.ids, seq)

    def messages(self, batch: EventBatch, seq: int) -> Iterator[bytes]:
        """The messages of the stream, up to the one that says the session has ended."""
        last_sent = time.monotonic()
        while True:
            for event in batch.events:
                seq, last_sent = event.seq, time.monotonic()
                yield message(event.kind, event_json(event), seq)
            if batch.is_last:
                yield message("done", {"state": batch.state.value}, seq)
                return
            if time.monotonic() - last_sent >= self.silence:
                last_sent = time.monotonic()
                yield message("heartbeat", {"state": batch.state.value}, None)
            time.sleep(POLL_SECONDS)
            batch = self.read_after(seq)


def message(name: str, data: dict[str, Any], seq: int | None) -> bytes:
    """One message. A heartbeat has no id, so that it does not change where a client resumes."""
    id_line = "" if seq is None else f"id: {seq}\n"
    return f"{id_line}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
