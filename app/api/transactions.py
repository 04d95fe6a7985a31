"""The outermost decorators of views that read and of those that change something without being a POST.

They stand outside `response`, so that an answer is written while the rows it shows are still at hand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from app import db

P = ParamSpec("P")
R = TypeVar("R")


def reading(view: Callable[P, R]) -> Callable[P, R]:
    """Run the view in a transaction that may only read."""

    @functools.wraps(view)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with db.transaction(read_only=True):
            return view(*args, **kwargs)

    return wrapper


def writing(view: Callable[P, R]) -> Callable[P, R]:
    """Run the view in a transaction."""

    @functools.wraps(view)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with db.transaction():
            return view(*args, **kwargs)

    return wrapper
