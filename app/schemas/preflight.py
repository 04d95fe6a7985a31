"""Preflights in JSON."""

from __future__ import annotations

from marshmallow import fields, validate

from app.schemas.base import Body, Schema
from app.schemas.fields import Flag, Moment, Text


class PreflightBody(Body):
    """What to check."""

    agent = Text(100, least=1, metadata={"description": "Default: the agent of sessions that name none."})
    branch = Text(255, least=1, metadata={"description": "Default: the site's default branch."})
    run_setup = Flag(load_default=False, metadata={"description": "Whether to run the setup command in a session."})


class CheckSchema(Schema):
    """What one check found."""

    name = fields.String(
        required=True,
        validate=validate.OneOf(
            [
                *("agent", "sandbox", "token", "repository", "branch", "push", "forge", "model_key", "mcp_server"),
                *("setup", "worker"),
            ]
        ),
    )
    status = fields.String(required=True, validate=validate.OneOf(["ok", "failed", "skipped"]))
    code = fields.String(required=True, allow_none=True)
    message = fields.String(required=True)


class PreflightSchema(Schema):
    """A check of what a session would need."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    site_id = fields.UUID(required=True)
    user_id = fields.UUID(required=True)
    agent = fields.String(required=True, allow_none=True)
    branch = fields.String(required=True, allow_none=True)
    state = fields.String(required=True, validate=validate.OneOf(["pending", "done"]))
    ok = fields.Boolean(required=True, allow_none=True)
    checks = fields.List(fields.Nested(CheckSchema), required=True)
    agent_runner_id = fields.UUID(required=True, allow_none=True)
    created_at = Moment(required=True)
    done_at = Moment(required=True, allow_none=True)
