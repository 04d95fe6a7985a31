"""Uploads in JSON: signed URLs to upload and delete files."""

from __future__ import annotations

from marshmallow import fields

from app.schemas.base import Body, Schema
from app.schemas.fields import Moment, Reference, Text, Whole


class UploadUrlBody(Body):
    """The file to upload."""

    filename = Text(1000, least=1, required=True, metadata={"example": "sketch.png"})
    content_type = Text(1000, least=1, required=True, metadata={"example": "image/png"})
    size = Whole(least=-(2**31), allow_none=True)
    account_id = Reference(allow_none=True)


class UploadUrlSchema(Schema):
    """Where to PUT the file, with exactly these headers."""

    upload_url = fields.String(required=True)
    file_key = fields.String(required=True)
    headers = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    expires_at = Moment(required=True)


class DeleteUrlBody(Body):
    """The file to delete."""

    file_key = Text(1000, least=1, required=True)


class DeleteUrlSchema(Schema):
    """Where to send DELETE for the file."""

    delete_url = fields.String(required=True)
    file_key = fields.String(required=True)


class DiffUploadSchema(Schema):
    """Where to PUT one diff, with exactly these headers, and the key to report afterwards."""

    upload_url = fields.String(required=True)
    s3_key = fields.String(required=True)
    headers = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class DiffUploadsSchema(Schema):
    """Where a worker uploads the diffs of its attempt."""

    result = fields.Nested(DiffUploadSchema, required=True)
    cumulative = fields.Nested(DiffUploadSchema, required=True)
