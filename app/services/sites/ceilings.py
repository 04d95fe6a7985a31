"""The operator's maximum of each limit that callers may set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.config import settings
from app.errors import invalid
from app.models.limits import LIMIT_NAMES


def ceiling(name: str) -> float | None:
    """The most that a limit of this name may be; None if there is no maximum. It is never below the default."""
    most: float = getattr(settings(), name.replace("max_", "ceiling_", 1))
    return max(most, getattr(settings(), name, 0)) if most else None


def check(limits: Mapping[str, Any], within: str = "") -> None:
    """Refuse a limit above its ceiling. `within` is what comes before the names of the limits."""
    for name in LIMIT_NAMES:
        most, asked = ceiling(name), limits.get(name)
        if most is not None and asked is not None and asked > most:
            message = f"must be at most {most:g}, which is the maximum of this deployment"
            raise invalid(f"{within}{name}", message, error_code="limit_too_high")
