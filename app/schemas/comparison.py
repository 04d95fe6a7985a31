"""Comparisons of two sessions in JSON."""

from __future__ import annotations

from marshmallow import fields, validate

from app.schemas.base import Body, Schema
from app.schemas.fields import Moment, Reference


class ComparisonBody(Body):
    """Which sessions to compare."""

    from_session_id = Reference(load_default=None, allow_none=True)
    to_session_id = Reference(required=True)


class ComparisonFailureSchema(Schema):
    """Why a diff could not be made."""

    code = fields.String(required=True)
    message = fields.String(required=True)


class ComparisonSchema(Schema):
    """The diff between the work of two sessions."""

    id = fields.UUID(required=True)
    agent_runner_id = fields.UUID(required=True)
    from_session_id = fields.UUID(required=True, allow_none=True)
    to_session_id = fields.UUID(required=True)
    state = fields.String(required=True, validate=validate.OneOf(["pending", "done", "failed"]))
    has_diff = fields.Boolean(required=True)
    failure = fields.Nested(ComparisonFailureSchema, required=True, allow_none=True)
    created_at = Moment(required=True)
    done_at = Moment(required=True, allow_none=True)
