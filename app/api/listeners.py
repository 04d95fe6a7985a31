"""How many event streams a web process serves at once. Each holds a thread for as long as somebody listens."""

from __future__ import annotations

import threading
from collections.abc import Callable

from app.config import settings
from app.errors import Unavailable

_lock = threading.Lock()
_listening: set[object] = set()


def admit() -> Callable[[], None]:
    """Take a place and return how to give it back, once or more often; raises `Unavailable` where all are taken."""
    place = object()
    with _lock:
        if len(_listening) >= settings().max_listeners:
            raise Unavailable(
                "too many event streams are open; poll the session, or try again later",
                error_code="too_many_listeners",
                headers={"Retry-After": "5"},
            )
        _listening.add(place)

    def release() -> None:
        with _lock:
            _listening.discard(place)

    return release
