"""Reads what programs print as JSON. They change, and may be lying: nothing is taken for what it should be."""

from __future__ import annotations

import json
from typing import Any

from workers.processes.lines import Line

# What a column of the record holds, and a JSON number everywhere.
_MOST = 2**53


def as_object(line: Line) -> dict[str, Any] | None:
    """The JSON object that a line consists of; None where it is anything else."""
    try:
        value = json.loads(line.data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def objects(value: object) -> list[dict[str, Any]]:
    """The objects in a list, none where it is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text_of(value: object) -> str:
    """A string, or the texts of a list of blocks."""
    if isinstance(value, str):
        return value
    return "\n".join(each["text"] for each in objects(value) if isinstance(each.get("text"), str))


def count_of(value: object) -> int | None:
    """A number of things."""
    # To `isinstance` true and false are numbers; to the record they are not.
    return min(max(value, 0), _MOST) if type(value) is int else None


def cost_of(value: object) -> float | None:
    """An amount of money."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Compared first, as an int may be too large for any float. NaN is within no bounds.
    return float(value) if 0 <= value < _MOST else None
