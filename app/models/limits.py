"""The limits of a session that callers can set: one field each. All code that handles limits iterates over the fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SessionLimits:
    """None means no limit. A site's column or a setting of the same name caps what callers may request.

    The API's fields are in `app/schemas/agent_runner.py`; the engine's `Limits` has fields of the same names.
    """

    max_duration_seconds: float
    max_cost_usd: float | None = None
    max_tokens: int | None = None

    @classmethod
    def stored(cls, limits: Mapping[str, Any]) -> SessionLimits:
        """The limits in a session's row. Limits that a later release stored there are ignored."""
        return cls(**{name: limits[name] for name in LIMIT_NAMES if name in limits})


LIMIT_NAMES = tuple(field.name for field in dataclasses.fields(SessionLimits))
