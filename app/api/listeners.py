"""The limit on event streams that a web process serves at once. Each holds a thread while its client is connected."""

from __future__ import annotations

import threading
from collections.abc import Callable

from app.config import settings
from app.errors import Unavailable

_lock = threading.Lock()
_listening: set[object] = set()


def admit() -> Callable[[], None]:
    """Reserve a slot and return the function that releases it; raises `Unavailable` when all slots are taken.

    The function may be called more than once.
    """
    slot = object()
    with _lock:
        if len(_listening) >= settings().max_listeners:
            raise Unavailable(
                "Too many event streams are open. Poll the session instead, or try again later.",
                error_code="too_many_listeners",
                headers={"Retry-After": "5"},
            )
        _listening.add(slot)

    def release() -> None:
        with _lock:
            _listening.discard(slot)

    return release
