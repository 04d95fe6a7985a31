"""Agents in JSON."""

from __future__ import annotations

from marshmallow import fields

from app.schemas.base import Schema
from app.schemas.fields import Moment


class AgentSchema(Schema):
    """An agent that callers may name."""

    name = fields.String(required=True)
    takes_plain_language = fields.Boolean(required=True)
    available = fields.Boolean(required=True, allow_none=True)
    version = fields.String(required=True, allow_none=True)
    missing = fields.String(required=True, allow_none=True)
    has_key = fields.Boolean(required=True, allow_none=True)
    hosts = fields.Integer(required=True)
    reported_at = Moment(required=True, allow_none=True)
