"""Reads values from the JSON of agents. Its format may change and it is untrusted, so every type is checked."""

from __future__ import annotations

import json
from typing import Any

from workers.processes.lines import Line

# Fits into a database column, and into a JSON number of any client.
_MOST = 2**53


def as_object(line: Line) -> dict[str, Any] | None:
    """The JSON object in a line. None if the line is anything else."""
    try:
        value = json.loads(line.data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def objects(value: object) -> list[dict[str, Any]]:
    """The objects in a list. Empty if it is not a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text_of(value: object) -> str:
    """A string, or the joined texts of a list of blocks; empty for anything else."""
    if isinstance(value, str):
        return value
    return "\n".join(each["text"] for each in objects(value) if isinstance(each.get("text"), str))


def count_of(value: object) -> int | None:
    """A count, or None if it is not an integer. Clamped to what can be stored."""
    # `isinstance` would accept booleans.
    return min(max(value, 0), _MOST) if type(value) is int else None


def cost_of(value: object) -> float | None:
    """An amount of money, or None if it is not a valid one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Compare first, because an int may be too large for a float. NaN fails the comparison.
    return float(value) if 0 <= value < _MOST else None
