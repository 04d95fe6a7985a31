"""What the options of a command that sets something say."""

from __future__ import annotations

from typing import Any


def given_settings(fields: dict[str, Any]) -> dict[str, Any]:
    """The settings that were given. An empty value is null: it removes what was set."""
    return {name: _value(value) for name, value in fields.items() if value not in (None, ())}


def _value(value: Any) -> Any:
    if isinstance(value, tuple):
        value = [each for each in value if each != ""]
    return None if value in ("", []) else value
