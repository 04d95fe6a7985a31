"""The outermost decorators of views that read and of those that change something without being a POST.

They stand outside `response`, so that an answer is written while the rows it shows are still at hand.

`after` stands outside of them, for what has to be done first and in no transaction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

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


def after(prepare: Callable[..., Any]) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """First do what may take long, such as storing a diff from the body, so that no row is locked meanwhile.

    `prepare` is called with the arguments of the view, and the view is given what it returns as `prepared`.
    """

    def decorate(view: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(view)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> R:
            return view(self, *args, prepared=prepare(*args, **kwargs), **kwargs)

        return wrapper

    return decorate
