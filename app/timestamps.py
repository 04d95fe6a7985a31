"""How times are written in JSON."""

from __future__ import annotations

import datetime


def format_moment(moment: datetime.datetime) -> str:
    """A time as in `2026-01-31T12:00:00.000Z`."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
