"""Variables in JSON."""

from __future__ import annotations

from marshmallow import fields

from app.models.states import VariableStage
from app.schemas.base import Body, Schema
from app.schemas.choices import Choice
from app.schemas.fields import Flag, Moment, Pattern, Text

NAME = Pattern(
    r"^[A-Za-z_][A-Za-z0-9_]*$", error="must be a name for the shell: letters, digits and _, and no digit first"
)
# The value is checked in bytes later on: this is the most that so many bytes can be.
_VALUE_CHARACTERS = 8192
HOST = Pattern(
    r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$", error="must be a host name: host or host:port"
)
HEADER = Pattern(
    r"^[A-Za-z0-9-]+(:( [!-9;-~]+)*)?$", error="must be the name of a header, with or without `: ` and a word"
)


class UpdateVariableBody(Body):
    """What can be changed about a variable."""

    value = Text(_VALUE_CHARACTERS, metadata={"description": "The value, at most 8192 bytes of UTF-8."})
    secret = Flag(metadata={"description": "Whether the value is never shown. A secret stays one."})
    stage = Choice(VariableStage)
    host = Text(255, least=1, allow_none=True, validate=[HOST], metadata={"example": "api.example.org"})
    header = Text(200, least=1, allow_none=True, validate=[HEADER], metadata={"example": "PRIVATE-TOKEN"})


class CreateVariableBody(UpdateVariableBody):
    """A variable for the commands of sessions."""

    name = Text(100, least=1, required=True, validate=[NAME], metadata={"example": "NPM_TOKEN"})
    value = Text(
        _VALUE_CHARACTERS,
        required=True,
        metadata={"description": "The value, at most 8192 bytes of UTF-8; a secret has at least 8."},
    )
    secret = Flag(metadata={"description": "Whether the value is never shown. Default: true."})


class VariableSchema(Schema):
    """A variable. The value of a secret is not shown."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    site_id = fields.UUID(required=True, allow_none=True)
    name = fields.String(required=True)
    value = fields.String(required=True, allow_none=True)
    secret = fields.Boolean(required=True)
    stage = Choice(VariableStage, required=True)
    host = fields.String(required=True, allow_none=True)
    header = fields.String(required=True, allow_none=True)
    fingerprint = fields.String(required=True)
    version = fields.Integer(required=True)
    updated_by = fields.UUID(required=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)
