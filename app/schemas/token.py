"""Tokens in JSON. Their text is shown once, when they are created."""

from __future__ import annotations

from marshmallow import fields

from app.models.states import Scope
from app.schemas.base import Body, Schema
from app.schemas.choices import Choice
from app.schemas.fields import NOT_BLANK, Line, Moment


class CreateTokenBody(Body):
    """A token of the caller's own user."""

    name = Line(200, least=1, validate=[NOT_BLANK], required=True, metadata={"example": "ci"})
    scope = Choice(Scope, required=True)
    expires_at = Moment(
        load_default=None,
        allow_none=True,
        metadata={"description": "When it stops to work. Null: with your own token, or never."},
    )


class TokenSchema(Schema):
    """A token, without its text."""

    id = fields.UUID(required=True)
    user_id = fields.UUID(required=True)
    name = fields.String(required=True)
    scope = Choice(Scope, required=True)
    created_at = Moment(required=True)
    revoked_at = Moment(required=True, allow_none=True)
    expires_at = Moment(required=True, allow_none=True, metadata={"description": "When it stops to work. Null: never."})
    last_used_at = Moment(required=True, allow_none=True)


class ConsoleLinkSchema(Schema):
    """A link that signs in to the console once. Its URL is null in a replayed answer."""

    url = fields.String(required=True, allow_none=True, metadata={"description": "Open it in a browser."})
    expires_at = Moment(required=True, metadata={"description": "Until when it can be used."})


class NewTokenSchema(TokenSchema):
    """A token with its text, which is null in a replayed answer."""

    token = fields.String(required=True, allow_none=True)
