"""A deadline for everything that is asked of forges in a block of code, by however many clients."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """In the block, no call of a `Client` lasts longer than until `seconds` from now."""
    token = _ends_at.set(min(_ends_at.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _ends_at.reset(token)


def seconds_left() -> float:
    """Seconds until the end of the innermost block, infinite outside of any; never below 0."""
    return max(0.0, _ends_at.get() - time.monotonic())
