"""What every schema shares."""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, fields, post_load, validate

from app.schemas.fields import Text

MOST_PER_PAGE = 100
# Far behind the end of any list, and small enough for arithmetic in every database.
LAST_PAGE = 10**9


class Body(Schema):
    """A JSON body. A field that nobody knows is refused, so that a misspelt one is not lost in silence."""

    class Meta:
        unknown = RAISE


class Query(Schema):
    """Parameters of a query. One that nobody knows is passed over."""

    class Meta:
        unknown = EXCLUDE


class PageQuery(Query):
    """Which part of a list: a page by its number, or what follows a cursor."""

    page = fields.Integer(load_default=1, validate=validate.Range(1), metadata={"description": "From 1."})
    per_page = fields.Integer(
        load_default=MOST_PER_PAGE,
        validate=validate.Range(1),
        metadata={"description": "Rows of a page; more than 100 means 100."},
    )
    cursor = Text(
        500, metadata={"description": "Walk by cursor: empty for the first page; `Link` carries the next one."}
    )

    @post_load
    def clamp(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        page = data["page"] and min(data["page"], LAST_PAGE)
        return {**data, "page": page, "per_page": min(data["per_page"], MOST_PER_PAGE)}


class UserSchema(Schema):
    """Who did it."""

    id = fields.UUID(required=True)
    full_name = fields.String(required=True)
    email = fields.String(required=True)
    avatar_url = fields.String(required=True, allow_none=True)


class ErrorSchema(Schema):
    """Every answer that is no success."""

    code = fields.Integer(required=True, metadata={"description": "The HTTP status.", "example": 409})
    status = fields.String(required=True, metadata={"description": "Its name.", "example": "Conflict"})
    message = fields.String(required=True, metadata={"example": "a session of this agent runner is still active"})
    error = fields.String(
        required=True, metadata={"description": "The message again.", "example": "a session is still active"}
    )
    error_code = fields.String(
        required=True, metadata={"description": "Stable; to be tested by programs.", "example": "active_session_exists"}
    )
    errors = fields.Dict(
        required=True, keys=fields.String(), metadata={"description": "Messages for each field of a 422, else empty."}
    )


class HealthSchema(Schema):
    """How the process is."""

    status = fields.String(required=True, metadata={"example": "ok"})
