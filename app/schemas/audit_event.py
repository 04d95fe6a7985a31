"""The audit trail in JSON."""

from __future__ import annotations

from marshmallow import fields

from app.schemas.base import Schema
from app.schemas.fields import Moment


class AuditEventSchema(Schema):
    """A change that somebody made."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    site_id = fields.UUID(required=True, allow_none=True)
    user_id = fields.UUID(required=True)
    token_id = fields.UUID(required=True)
    action = fields.String(required=True)
    subject = fields.String(required=True)
    details = fields.Dict(required=True, keys=fields.String())
    created_at = Moment(required=True)
