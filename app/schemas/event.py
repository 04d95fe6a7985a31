"""Events in JSON, as an event stream carries them."""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, fields, validate

from app.models.states import UNCATEGORIZED
from app.schemas.agent_runner import UsageSchema
from app.schemas.base import Schema
from app.schemas.fields import Moment, Pattern, from_to


class ResumeHeaders(Schema):
    """Where a client resumes a stream."""

    class Meta:
        unknown = EXCLUDE

    last_event_id = fields.Integer(
        data_key="Last-Event-ID",
        load_default=0,
        validate=from_to(0, 2**31 - 1),
    )


class ResumeAccountHeaders(Schema):
    """Where a client resumes the stream of its account."""

    class Meta:
        unknown = EXCLUDE

    last_event_id = fields.String(
        data_key="Last-Event-ID",
        validate=Pattern("^[0-9]{1,16}-[0-9a-f]{32}$", error="must be the id of an event of this stream"),
    )


class EventSchema(Schema):
    """The fields of every event. The fields of its kind are added to them."""

    agent_runner_id = fields.UUID(required=True)
    seq = fields.Integer(required=True)
    session_id = fields.UUID(required=True, allow_none=True)
    attempt = fields.Integer(required=True)
    created_at = Moment(required=True)


class MessageSchema(Schema):
    """One message of an event stream."""

    id = fields.String()
    event = fields.String(
        required=True,
        validate=validate.OneOf(["step", "state", "stage", "usage", "publication", "budget", "heartbeat", "done"]),
    )
    data = fields.String(required=True, metadata={"contentMediaType": "application/json"})


_EVENT, _USAGE = EventSchema(), UsageSchema()


def event_json(event: Any) -> dict[str, Any]:
    """An event with the fields of its kind. A step has the same id as in the session."""
    payload = event.payload
    if event.kind == "step":
        payload = {"id": str(event.id), **UNCATEGORIZED, **payload}
    elif event.kind == "usage":
        payload = _USAGE.dump(payload)
    return {**_EVENT.dump(event), **payload}
