"""What every schema shares."""

from __future__ import annotations

from typing import Any

import marshmallow
from marshmallow import RAISE, fields, post_load

from app.schemas.fields import Text, from_to
from app.schemas.glossary import description_of

MOST_PER_PAGE = 100
# Far behind the end of any list, and small enough for arithmetic in every database.
LAST_PAGE = 10**9


# What is wrong with a value that is not of the kind that a field takes.
_WRONG_KIND: dict[type[fields.Field[Any]], str] = {
    fields.UUID: "must be an id (UUID)",
    fields.String: "must be text",
    fields.Integer: "must be a whole number",
    fields.Float: "must be a number",
    fields.Boolean: "must be true or false",
    fields.List: "must be a list",
    fields.Nested: "must be an object",
}


class Schema(marshmallow.Schema):
    """What all schemas share: plain words for what is wrong, and a description of each field."""

    error_messages = {"type": "must be an object"}

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Called by marshmallow with each field of the schema."""
        words = next((words for kind, words in _WRONG_KIND.items() if isinstance(field_obj, kind)), None)
        if words is not None:
            wrong = ("invalid", "invalid_uuid", "invalid_utf8", "special", "too_large", "type")
            field_obj.error_messages |= dict.fromkeys(wrong, words)
        field_obj.error_messages |= {"required": "is required", "null": "must not be null"}
        description = description_of(type(self), field_name)
        if description is not None:
            field_obj.metadata = {"description": description, **field_obj.metadata}


class Body(Schema):
    """A JSON body. A field that nobody knows is refused, so that a misspelt one is not lost in silence."""

    error_messages = {"unknown": "is not a field of this body"}

    class Meta:
        unknown = RAISE


class Query(Schema):
    """Parameters of a query. One that nobody knows is refused, so that a misspelt filter does not return everything."""

    error_messages = {"unknown": "is not a parameter of this operation"}

    class Meta:
        unknown = RAISE


class PageQuery(Query):
    """Which part of a list: a page by its number, or what follows a cursor."""

    page = fields.Integer(load_default=1, validate=from_to(1), metadata={"description": "From 1."})
    per_page = fields.Integer(
        load_default=MOST_PER_PAGE,
        validate=from_to(1),
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
