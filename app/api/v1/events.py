"""What happens to a session, as it happens: `/agent_runners/:id/sessions/:session_id/events`."""

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
from app.services.events import News

PREFIX = "/api/v1/agent_runners/<uuid:agent_runner_id>/sessions/<uuid:session_id>"
POLL_SECONDS = 0.3
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

blp = Blueprint("Events", __name__, description="What happens in a session, as it happens.", url_prefix=PREFIX)


@blp.route("/events")
class SessionEvents(MethodView):
    @blp.operation("streamSessionEvents", also={503: "`too_many_listeners`; carries `Retry-After`"})
    @blp.arguments(ResumeHeaders, location="headers")
    @blp.response(200, MessageSchema, content_type="text/event-stream", example=examples.MESSAGE)
    def get(self, headers: dict[str, Any], agent_runner_id: uuid.UUID, session_id: uuid.UUID) -> Response:
        """Follow a session as it happens.

        Server-sent events: `step`, `state`, `usage`, `heartbeat` after 15 s of silence, and `done` as the last one.
        After a broken connection send the last `id` as `Last-Event-ID`, and nothing is missed or repeated.
        """
        listened = Listened(caller(), agent_runner_id, session_id)
        first = listened.after(headers["last_event_id"])
        release = listeners.admit()
        response = Response(listened.stream(first, headers["last_event_id"]), 200, HEADERS)
        response.content_type = "text/event-stream; charset=utf-8"
        # The server calls this at the stream's end and also when the listener went away.
        response.call_on_close(release)
        return response


class Listened:
    """A session that somebody listens to, and the seconds of silence after which a heartbeat is sent."""

    def __init__(self, caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID, silence: float = 15.0) -> None:
        self.ids, self.silence = (caller, runner_id, session_id), silence

    def after(self, seq: int) -> News:
        """One short look; no connection is held while nothing happens."""
        with db.transaction(read_only=True):
            return events.read_after(*self.ids, seq)

    def stream(self, news: News, seq: int) -> Iterator[bytes]:
        """The events as lines of an event stream, until nothing will follow."""
        spoke = time.monotonic()
        while True:
            for event in news.events:
                seq, spoke = event.seq, time.monotonic()
                yield message(event.kind, event_json(event), seq)
            if news.is_over:
                yield message("done", {"state": news.state.value}, seq)
                return
            if time.monotonic() - spoke >= self.silence:
                spoke = time.monotonic()
                yield message("heartbeat", {"state": news.state.value}, None)
            time.sleep(POLL_SECONDS)
            news = self.after(seq)


def message(name: str, data: dict[str, Any], seq: int | None) -> bytes:
    """One message. A heartbeat has no id, so that it does not move the place to resume from."""
    place = "" if seq is None else f"id: {seq}\n"
    return f"{place}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
