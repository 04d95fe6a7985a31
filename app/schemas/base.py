"""The base classes of all schemas, and the schemas that several resources share."""

from __future__ import annotations

import functools
from typing import Any

import marshmallow
from marshmallow import RAISE, fields, missing, post_load

from app.schemas.fields import Text, from_to
from app.schemas.glossary import description_of

MOST_PER_PAGE = 100
# Beyond the end of any list, and small enough for arithmetic in every database.
LAST_PAGE = 10**9


# The message for a value of the wrong type.
_WRONG_TYPE: dict[type[fields.Field[Any]], str] = {
    fields.UUID: "must be an id (UUID)",
    fields.String: "must be text",
    fields.Integer: "must be a whole number",
    fields.Float: "must be a number",
    fields.Boolean: "must be true or false",
    fields.List: "must be a list",
    fields.Nested: "must be an object",
}


class Schema(marshmallow.Schema):
    """The base of all schemas. It gives each field plain error messages and a description."""

    error_messages = {"type": "must be an object"}

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Called by marshmallow with each field of the schema."""
        message = next((message for kind, message in _WRONG_TYPE.items() if isinstance(field_obj, kind)), None)
        if message is not None:
            errors = ("invalid", "invalid_uuid", "invalid_utf8", "special", "too_large", "type")
            field_obj.error_messages |= dict.fromkeys(errors, message)
        field_obj.error_messages |= {"required": "is required", "null": "must not be null"}
        description = description_of(type(self), field_name)
        if description is not None:
            field_obj.metadata = {"description": description, **field_obj.metadata}

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """As by marshmallow, in half of its steps: a list has thousands of values. No schema has hooks for it."""
        return [self._dump(each) for each in obj] if (self.many if many is None else many) else self._dump(obj)

    def _dump(self, obj: Any) -> dict[str, Any]:
        dumped = {}
        for name, attribute, key, field in self._dumped:
            value = self.get_attribute(obj, attribute, missing)
            if value is missing:
                value = field.serialize(name, obj, accessor=self.get_attribute)
            elif value is not None:
                value = field._serialize(value, name, obj)
            if value is not missing:
                dumped[key] = value
        return dumped

    @functools.cached_property
    def _dumped(self) -> list[tuple[str, str, str, fields.Field[Any]]]:
        return [
            (name, field.attribute or name, name if field.data_key is None else field.data_key, field)
            for name, field in self.dump_fields.items()
        ]

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:
        """Called by marshmallow for the value of a field. By itself it tries `obj[attr]` first, whatever `obj` is."""
        return obj.get(attr, default) if isinstance(obj, dict) else getattr(obj, attr, default)


class Body(Schema):
    """A JSON body. Unknown fields are refused, so that a misspelt one is not silently ignored."""

    error_messages = {"unknown": "is not a field of this body"}

    class Meta:
        unknown = RAISE


class Query(Schema):
    """The parameters of a query. Unknown ones are refused, so that a misspelt filter does not return everything."""

    error_messages = {"unknown": "is not a parameter of this operation"}

    class Meta:
        unknown = RAISE


class PageQuery(Query):
    """Which part of a list to send: a page by its number, or the rows after a cursor."""

    page = fields.Integer(load_default=1, validate=from_to(1), metadata={"description": "From 1."})
    per_page = fields.Integer(
        load_default=MOST_PER_PAGE,
        validate=from_to(1),
        metadata={"description": "Rows on a page. More than 100 means 100."},
    )
    cursor = Text(
        500, metadata={"description": "Page by cursor: empty for the first page. `Link` has the next cursor."}
    )

    @post_load
    def clamp(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        page = data["page"] and min(data["page"], LAST_PAGE)
        return {**data, "page": page, "per_page": min(data["per_page"], MOST_PER_PAGE)}


class UserSchema(Schema):
    """A user."""

    id = fields.UUID(required=True)
    full_name = fields.String(required=True)
    email = fields.String(required=True)
    avatar_url = fields.String(required=True, allow_none=True)


class ErrorSchema(Schema):
    """Every answer that is not a success."""

    code = fields.Integer(required=True, metadata={"description": "The HTTP status.", "example": 409})
    status = fields.String(required=True, metadata={"description": "Its name.", "example": "Conflict"})
    message = fields.String(required=True, metadata={"example": "The agent runner is archived. Unarchive it first."})
    error = fields.String(
        required=True,
        metadata={"description": "Same as `message`.", "example": "The agent runner is archived. Unarchive it first."},
    )
    error_code = fields.String(
        required=True, metadata={"description": "A stable code for programs.", "example": "runner_archived"}
    )
    errors = fields.Dict(
        required=True, keys=fields.String(), metadata={"description": "Messages for each field of a 422, else empty."}
    )


class HealthSchema(Schema):
    """The health of the process."""

    status = fields.String(required=True, metadata={"example": "ok"})
