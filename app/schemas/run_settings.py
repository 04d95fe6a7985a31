"""What schedules and hooks have in common in JSON: the settings of the runners that they create."""

from __future__ import annotations

from marshmallow import fields

from app.models.states import PROMPT_MODES, Mode
from app.schemas.agent_runner import NAME_LIKE, LimitsBody, LimitsSchema
from app.schemas.base import Body, Schema
from app.schemas.choices import Choice
from app.schemas.fields import Prompt, Text


class RunSettingsBody(Body):
    """What runners are to do, and with what."""

    prompt = Prompt(metadata={"example": "Update the dependencies."})
    mode = Choice(Mode, among=PROMPT_MODES)
    agent = Text(100, least=1, allow_none=True, metadata={"description": "Null: the default agent at that time."})
    model = Text(200, least=1, allow_none=True, validate=[NAME_LIKE])
    effort = Text(50, least=1, allow_none=True, validate=[NAME_LIKE])
    branch = Text(255, least=1, allow_none=True)
    limits = fields.Nested(LimitsBody, allow_none=True)


class RunSettingsSchema(Schema):
    """What runners are to do, and with what."""

    prompt = fields.String(required=True)
    mode = Choice(Mode, required=True)
    agent = fields.String(
        required=True, allow_none=True, metadata={"description": "Null: the default agent at that time."}
    )
    model = fields.String(required=True, allow_none=True)
    effort = fields.String(required=True, allow_none=True)
    branch = fields.String(required=True, allow_none=True)
    limits = fields.Nested(LimitsSchema, required=True, allow_none=True)
