"""Webhooks in JSON. Their secret is shown once, when it is made."""

from __future__ import annotations

from marshmallow import fields

from app.models.states import DeliveryState, WebhookEvent, WebhookFormat, WebhookState
from app.schemas.base import Body, Schema
from app.schemas.choices import Choice
from app.schemas.fields import Flag, Moment, Text, items


class UpdateWebhookBody(Body):
    """What can be changed about a webhook."""

    url = Text(2000, least=1, metadata={"example": "https://hooks.example.org/agent-runners"})
    site_id = fields.UUID(allow_none=True, metadata={"description": "Only events of this site. Null: of all sites."})
    description = Text(200)
    events = fields.List(
        Choice(WebhookEvent),
        validate=items(20),
        metadata={"description": "The types to deliver. Empty: all but `session.step`."},
    )
    full = Flag(metadata={"description": "Whether `session.step` has the steps themselves. Default: false."})
    active = Flag(metadata={"description": "False stops it. True delivers the events from then on."})


class CreateWebhookBody(UpdateWebhookBody):
    """Where events are sent."""

    url = Text(2000, least=1, required=True, metadata={"example": "https://hooks.example.org/agent-runners"})
    format = Choice(
        WebhookFormat,
        metadata={
            "description": "What is sent: the event, or a message for people. Default: `json`, and `email` for a `mailto:` URL."
        },
    )


class WebhookSchema(Schema):
    """A webhook, without its secret."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    site_id = fields.UUID(required=True, allow_none=True)
    format = Choice(WebhookFormat, required=True)
    url = fields.String(required=True)
    description = fields.String(required=True)
    events = fields.List(Choice(WebhookEvent), required=True)
    full = fields.Boolean(required=True)
    state = Choice(WebhookState, required=True)
    disabled_reason = fields.String(required=True, allow_none=True)
    failing_since = Moment(required=True, allow_none=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)


class NewWebhookSchema(WebhookSchema):
    """A webhook with its secret, which is null in a replayed answer."""

    secret = fields.String(required=True, allow_none=True)


class DeliverySchema(Schema):
    """What happened to one event. `event_id` is the `webhook-id` of its requests."""

    id = fields.UUID(required=True)
    event_id = fields.UUID(required=True)
    event_type = Choice(WebhookEvent, required=True)
    state = Choice(DeliveryState, required=True)
    tries = fields.Integer(required=True)
    status = fields.Integer(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
    tried_at = Moment(required=True, allow_none=True)
    created_at = Moment(required=True)
