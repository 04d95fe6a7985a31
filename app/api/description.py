"""How schemas are documented in the API's description."""

from __future__ import annotations

from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_instance
from apispec.ext.marshmallow.openapi import OpenAPIConverter


class Converter(OpenAPIConverter):
    """Adds a schema's docstring as its description, and leaves the rest to apispec."""

    def schema2jsonschema(self, schema: Any) -> dict[str, Any]:
        described: dict[str, Any] = super().schema2jsonschema(schema)
        text = " ".join((type(resolve_schema_instance(schema)).__doc__ or "").split())
        return {**described, "description": text}


class Plugin(MarshmallowPlugin):
    Converter = Converter
