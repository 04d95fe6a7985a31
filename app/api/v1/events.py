"""Event streams: of a session, of a runner and of an account."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response
from flask.views import MethodView

from app import db
from app.api import examples
from app.api.auth import caller
from app.api.blueprint import Blueprint
from app.api.event_stream import EventStream
from app.schemas.event import MessageSchema, ResumeAccountHeaders, ResumeHeaders
from app.services.callers import Caller
from app.services.event_streams import AccountEvents, Cursor, Position, RunnerEvents, SessionEvents, Source
from app.streams import messages
from app.streams.listener import Listener

LIMITS = {
    429: "Also `too_many_account_listeners`; carries `Retry-After`",
    503: "`too_many_listeners`; carries `Retry-After`",
}

blp = Blueprint(
    "Events",
    __name__,
    description="What happens to sessions, runners and publications, as it happens.",
    url_prefix="/api/v1",
)


@blp.route("/agent_runners/<uuid:agent_runner_id>/sessions/<uuid:session_id>/events")
class StreamOfSession(MethodView):
    @blp.operation("streamSessionEvents", also=LIMITS)
    @blp.arguments(ResumeHeaders, location="headers")
    @blp.response(200, MessageSchema, content_type="text/event-stream", example=examples.MESSAGE)
    def get(self, headers: dict[str, Any], agent_runner_id: uuid.UUID, session_id: uuid.UUID) -> Response:
        """Follow a session as it happens.

        Server-sent events: `step`, `state`, `stage`, `usage`, `publication`, `heartbeat` after 15 s of silence, and `done`
        as the last one. After a broken connection send the last `id` as `Last-Event-ID`, and nothing is missed or repeated.
        """
        return stream(caller(), SessionEvents(agent_runner_id, session_id), headers["last_event_id"])


@blp.route("/agent_runners/<uuid:agent_runner_id>/events")
class StreamOfRunner(MethodView):
    @blp.operation("streamAgentRunnerEvents", also=LIMITS)
    @blp.arguments(ResumeHeaders, location="headers")
    @blp.response(200, MessageSchema, content_type="text/event-stream", example=examples.MESSAGE)
    def get(self, headers: dict[str, Any], agent_runner_id: uuid.UUID) -> Response:
        """Follow all sessions of a runner.

        As the events of a session, from the runner's first one on. The stream continues after the end of a session.
        """
        return stream(caller(), RunnerEvents(agent_runner_id), headers["last_event_id"])


@blp.route("/events")
class StreamOfAccount(MethodView):
    @blp.operation("streamEvents", also=LIMITS)
    @blp.arguments(ResumeAccountHeaders, location="headers")
    @blp.response(200, MessageSchema, content_type="text/event-stream", example=examples.MESSAGE)
    def get(self, headers: dict[str, Any]) -> Response:
        """Follow the changes of state in the account.

        Events `state` and `publication` of all runners, for lists. Without `Last-Event-ID` it begins now: a `heartbeat`
        with an `id` comes first, and what is read after it is complete together with the events.
        """
        return stream_of_account(caller(), headers.get("last_event_id"))


def stream_of_account(caller: Caller, last: str | None) -> EventStream:
    """The stream of the caller's account: after the event with an id, or from now on."""
    source = AccountEvents(caller.account_id)
    if last is not None:
        return stream(caller, source, Cursor.parse(last))
    with db.transaction(read_only=not source.must_lock):
        source.check(caller)
        position = source.now()
    return EventStream(Listener(caller, source, position, messages.heartbeat(None, position)))


def stream(caller: Caller, source: Source, position: Position) -> EventStream:
    """The stream of a source, from the events after a position on."""
    with db.transaction(read_only=True):
        source.check(caller)
    return EventStream(Listener(caller, source, position))
