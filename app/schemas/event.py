"""Events in JSON, as an event stream carries them."""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, fields, validate

from app.schemas.agent_runner import UsageSchema
from app.schemas.base import Schema
from app.schemas.fields import Moment, from_to


class ResumeHeaders(Schema):
    """Where a listener left off."""

    class Meta:
        unknown = EXCLUDE

    last_event_id = fields.Integer(
        data_key="Last-Event-ID",
        load_default=0,
        validate=from_to(0, 2**31 - 1),
    )


class EventSchema(Schema):
    """One event; what its kind tells lies beside these fields."""

    seq = fields.Integer(required=True)
    session_id = fields.UUID(required=True)
    attempt = fields.Integer(required=True)
    created_at = Moment(required=True)


class MessageSchema(Schema):
    """One message of an event stream."""

    id = fields.String()
    event = fields.String(required=True, validate=validate.OneOf(["step", "state", "usage", "heartbeat", "done"]))
    data = fields.String(required=True, metadata={"contentMediaType": "application/json"})


def event_json(event: Any) -> dict[str, Any]:
    """An event and what it tells. A step has the id under which the session shows it."""
    said = event.payload
    if event.kind == "step":
        said = {"id": str(event.id), **said}
    elif event.kind == "usage":
        said = UsageSchema().dump(said)
    return {**EventSchema().dump(event), **said}
