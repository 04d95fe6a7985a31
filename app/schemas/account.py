"""Callers and accounts in JSON."""

from __future__ import annotations

from marshmallow import fields

from app.models.states import Role, Scope
from app.schemas.base import Schema, UserSchema
from app.schemas.choices import Choice
from app.schemas.fields import Moment


class AccountNameSchema(Schema):
    """An account by its name."""

    id = fields.UUID(required=True)
    name = fields.String(required=True)


class TokenInUseSchema(Schema):
    """The token that authenticated the request."""

    id = fields.UUID(required=True)
    name = fields.String(required=True)
    scope = Choice(Scope, required=True)
    created_at = Moment(required=True)
    expires_at = Moment(required=True, allow_none=True, metadata={"description": "When it stops to work. Null: never."})


class MeSchema(UserSchema):
    """The caller, with the account and the token in use."""

    role = Choice(Role, required=True)
    account = fields.Nested(AccountNameSchema, required=True)
    token = fields.Nested(TokenInUseSchema, required=True)


class AccountLimitsSchema(Schema):
    """The limits of an account. Null: no limit."""

    max_concurrent_sessions = fields.Integer(required=True, allow_none=True)
    max_queued_sessions = fields.Integer(required=True)
    max_stored_bytes = fields.Integer(required=True, allow_none=True)


class AccountUseSchema(Schema):
    """What an account uses now."""

    running_sessions = fields.Integer(required=True)
    queued_sessions = fields.Integer(required=True)
    stored_bytes = fields.Integer(required=True)


class AccountSchema(AccountNameSchema):
    """An account, its limits and its current use."""

    created_at = Moment(required=True)
    limits = fields.Nested(AccountLimitsSchema, required=True)
    used = fields.Nested(AccountUseSchema, required=True)
