"""Decorators that give views a transaction. A POST gets its own from `app.api.idempotency`.

`reading` and `writing` go outside `response`, so that the answer is serialized while the transaction is open.
`prepared_by` goes outside of them, for work that must be done first and outside a transaction.
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


def prepared_by(prepare: Callable[..., Any]) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Call `prepare` before the view, for work that may take long, such as storing a diff: no row is locked meanwhile.

    `prepare` is called with the arguments of the view, and its result is passed to the view as `prepared`.
    """

    def decorate(view: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(view)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> R:
            return view(self, *args, prepared=prepare(*args, **kwargs), **kwargs)

        return wrapper

    return decorate
