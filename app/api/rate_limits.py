"""A decorator for views that an account may call only so often. It goes outermost: no row is locked while it counts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from app import rate_limits
from app.api.auth import caller
from app.config import settings

P = ParamSpec("P")
R = TypeVar("R")


def limited(what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Answer 429 beyond the setting `max_{what}_per_minute` of the caller's account."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            most = getattr(settings(), f"max_{what}_per_minute")
            rate_limits.count(what, str(caller().account_id), most, f"Your account may request {most} {what} a minute.")
            return view(*args, **kwargs)

        return wrapper

    return decorate
