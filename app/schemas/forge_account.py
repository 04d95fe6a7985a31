"""People's accounts on forges in JSON. Their tokens are never shown."""

from __future__ import annotations

from marshmallow import fields

from app.models.states import Forge, ForgeAccountState
from app.schemas.base import Body, Schema
from app.schemas.choices import Choice
from app.schemas.fields import Moment, Text


class ConnectForgeAccountBody(Body):
    """An account of the caller's own on a forge."""

    forge = Choice(Forge, required=True)
    forge_api_url = Text(500, least=1, allow_none=True, load_default=None)
    token = Text(10_000, least=1, required=True)


class ForgeAccountFailureSchema(Schema):
    """Why an account is not connected."""

    code = fields.String(required=True)
    message = fields.String(required=True)


class ForgeAccountSchema(Schema):
    """An account of the caller on a forge, without its token."""

    id = fields.UUID(required=True)
    forge = Choice(Forge, required=True)
    forge_api_url = fields.String(required=True)
    state = Choice(ForgeAccountState, required=True)
    login = fields.String(required=True, allow_none=True)
    name = fields.String(required=True, allow_none=True)
    email = fields.String(required=True, allow_none=True)
    failure = fields.Nested(ForgeAccountFailureSchema, required=True, allow_none=True)
    created_at = Moment(required=True)
