"""Forms, read by the schemas of the API, so that the same rules hold for both."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import marshmallow
from flask import request

from app.api.blueprint import refused
from app.config import settings
from app.services.runners.session_configuration import RUN_SCRIPTS


def load(schema: marshmallow.Schema, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the API would make of these fields; raises `Invalid` as it does."""
    try:
        loaded: dict[str, Any] = schema.load(given)
    except marshmallow.ValidationError as error:
        messages = error.messages
        raise refused(messages if isinstance(messages, dict) else {"_schema": messages}) from None
    return loaded


def text(name: str) -> str:
    """A field of the form as it was written, with the line ends of Unix: browsers send those of HTTP."""
    return request.form.get(name, "").replace("\r\n", "\n")


def filled(*names: str) -> dict[str, str]:
    """Those of the fields that are not blank, without white space around them."""
    return {name: value for name in names if (value := text(name).strip())}


def number(name: str) -> float | str | None:
    """A field with a number. What is not one stays text, which the schema refuses."""
    value = text(name).strip()
    if not value:
        return None
    try:
        return float(value) if "." in value else int(value)
    except ValueError:
        return value


def lines(name: str) -> list[str]:
    """The lines of a field that are not blank."""
    return [line.strip() for line in text(name).split("\n") if line.strip()]


def names(name: str) -> list[str]:
    """The names of a field that are separated by commas."""
    return [each.strip() for each in text(name).split(",") if each.strip()]


def flag(name: str) -> bool:
    return name in request.form


def agents() -> tuple[str, ...]:
    """The agents that a prompt may name."""
    return tuple(settings().agents)


def reading_agents() -> list[str]:
    """The agents that read a prompt, instead of running it as a script."""
    return [agent for agent in agents() if agent not in RUN_SCRIPTS]


def reference(text: str | None) -> uuid.UUID:
    """An id of an address. What is none is that of nothing."""
    try:
        return uuid.UUID(text or "")
    except ValueError:
        return uuid.UUID(int=0)
