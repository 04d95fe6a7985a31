"""Hooks in JSON. Their secret is shown once, when it is made."""

from __future__ import annotations

from marshmallow import fields

from app.models.states import HookDeliveryState
from app.schemas.base import Body, Schema
from app.schemas.choices import Choice
from app.schemas.fields import Flag, Line, Moment, Prompt, Text, items
from app.schemas.run_settings import RunSettingsBody, RunSettingsSchema

_PROMPT = {
    "example": "Fix this issue: {{ issue.title }}",
    "description": "The prompt. `{{ issue.title }}` is replaced by the value at that place of the JSON that is delivered.",
}


class ConditionBody(Body):
    """A place in the JSON, and the text that must be there."""

    place = Text(200, least=1, required=True, metadata={"example": "action"})
    equals = Text(1000, required=True, metadata={"example": "opened"})


class ConditionSchema(Schema):
    """A place in the JSON, and the text that must be there."""

    place = fields.String(required=True)
    equals = fields.String(required=True)


class UpdateHookBody(RunSettingsBody):
    """What can be changed about a hook."""

    name = Line(200, metadata={"description": "A name for people."})
    active = Flag(metadata={"description": "False refuses what is delivered."})
    prompt = Prompt(metadata=_PROMPT)
    subject = Text(500, least=1, allow_none=True, metadata={"example": "issue-{{ issue.number }}"})
    conditions = fields.List(fields.Nested(ConditionBody), validate=items(20))


class CreateHookBody(UpdateHookBody):
    """What a delivery starts."""

    prompt = Prompt(required=True, metadata=_PROMPT)


class HookSchema(RunSettingsSchema):
    """A hook, without its secret."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    site_id = fields.UUID(required=True)
    user_id = fields.UUID(required=True)
    name = fields.String(required=True)
    url = fields.String(required=True)
    active = fields.Boolean(required=True)
    subject = fields.String(required=True, allow_none=True)
    conditions = fields.List(fields.Nested(ConditionSchema), required=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)


class NewHookSchema(HookSchema):
    """A hook with its secret, which is null in a replayed answer."""

    secret = fields.String(required=True, allow_none=True)


class HookDeliverySchema(Schema):
    """What happened to one delivery."""

    id = fields.UUID(required=True)
    delivery_id = fields.String(required=True, allow_none=True)
    state = Choice(HookDeliveryState, required=True)
    subject = fields.String(required=True, allow_none=True)
    agent_runner_id = fields.UUID(required=True, allow_none=True)
    session_id = fields.UUID(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
