"""The limits on event streams that are open at once: those of a web process, and those of an account on it."""

from __future__ import annotations

import resource
import threading
import uuid
import weakref

from app.config import settings
from app.errors import TooMany, Unavailable
from app.streams.capacity import RESERVED_DESCRIPTORS
from app.streams.listener import Listener

_RETRY = {"Retry-After": "5"}
_lock = threading.Lock()
# A listener whose response was never sent is forgotten with it.
_listening: weakref.WeakSet[Listener] = weakref.WeakSet()


def admit(listener: Listener) -> None:
    """Count the listener in until it is released; raises `Unavailable` or `TooMany` over the limits."""
    with _lock:
        all_together = _most()
        if len(_listening) >= all_together:
            raise Unavailable(
                "Too many event streams are open on this server. Try again later, or poll.",
                error_code="too_many_listeners",
                headers=_RETRY,
            )
        # However few there are, one account leaves some to the others.
        most = min(settings().max_account_listeners, all_together - all_together // 4)
        if _of_account(listener.caller.account_id) >= most:
            raise TooMany(
                f"Your account has {most} event streams open, which is the limit. Close some, or follow several sessions "
                "with one stream: GET /events, or that of a runner.",
                error_code="too_many_account_listeners",
                headers=_RETRY,
            )
        _listening.add(listener)


def release(listener: Listener) -> None:
    with _lock:
        _listening.discard(listener)


def count() -> int:
    """How many event streams are open on this process."""
    with _lock:
        return len(_listening)


def _most() -> int:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(settings().max_listeners, max(descriptors - RESERVED_DESCRIPTORS, 1))


def _of_account(account_id: uuid.UUID) -> int:
    return sum(listener.caller.account_id == account_id for listener in _listening)
