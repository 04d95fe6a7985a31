"""The tokens that one call to a model used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """Tokens of one call. `given` is all of the input; the next three are parts of it."""

    given: int = 0
    cached: int = 0
    """Read from the provider's cache."""
    written: int = 0
    """Written to the provider's cache, for however long."""
    written_for_an_hour: int = 0
    """The part of `written` that is kept for an hour, which costs more."""
    produced: int = 0


def number(value: object) -> int:
    """A count as a server gave it; 0 for anything that is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def inner(value: object, name: str) -> dict[str, object]:
    """The object that is the field `name` of an object; empty if there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}
