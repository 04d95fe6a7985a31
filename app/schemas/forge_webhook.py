"""The webhook of a site's forge in JSON. Its secret is shown once, when it is made."""

from __future__ import annotations

from marshmallow import fields

from app.models.states import ForgeDeliveryState, ForgeEvent, OnFailedChecks
from app.schemas.base import Body, Schema
from app.schemas.choices import Choice
from app.schemas.fields import NOT_BLANK, Flag, Moment, Names, Pattern, Text, Whole


class ForgeWebhookBody(Body):
    """What the webhook does beside following the state of pull requests."""

    archive_merged = Flag()
    trigger_name = Text(
        100,
        least=2,
        validate=[Pattern(r"^[@/]?[A-Za-z0-9][A-Za-z0-9._-]*$", error="must be a name, such as @agent-runners")],
        metadata={"example": "@agent-runners"},
    )
    on_failed_checks = Choice(OnFailedChecks)
    max_fixes = Whole(least=1, most=20)
    issue_label = Text(100, least=1, validate=[NOT_BLANK], allow_none=True, metadata={"example": "agent"})
    allowed_people = Names(allow_none=True, metadata={"example": ["ada"]})


class ForgeWebhookSchema(Schema):
    """The webhook of a site, without its secret."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    site_id = fields.UUID(required=True)
    user_id = fields.UUID(required=True)
    url = fields.String(required=True)
    archive_merged = fields.Boolean(required=True)
    trigger_name = fields.String(required=True)
    on_failed_checks = Choice(OnFailedChecks, required=True)
    max_fixes = fields.Integer(required=True)
    issue_label = fields.String(required=True, allow_none=True)
    allowed_people = fields.List(fields.String(), required=True, allow_none=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)


class NewForgeWebhookSchema(ForgeWebhookSchema):
    """The webhook with its secret, which is null in a replayed answer."""

    secret = fields.String(required=True, allow_none=True)


class ForgeDeliverySchema(Schema):
    """What happened to one delivery."""

    id = fields.UUID(required=True)
    delivery_id = fields.String(required=True)
    event = Choice(ForgeEvent, required=True)
    number = fields.Integer(required=True)
    author = fields.String(required=True, allow_none=True)
    agent_runner_id = fields.UUID(required=True, allow_none=True)
    session_id = fields.UUID(required=True, allow_none=True)
    state = Choice(ForgeDeliveryState, required=True)
    error = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)


class ReceivedSchema(Schema):
    """Whether a delivery was recorded."""

    id = fields.UUID(required=True, allow_none=True)
