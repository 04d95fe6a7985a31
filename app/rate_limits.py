"""Counts how often something was done in this minute: in the broker, which all processes share, else in this process.

`limits` is the library that flask-limiter is made of. Used by itself it can count failures alone, so that a request with
a good token asks no counter.
"""

from __future__ import annotations

import functools
import math
import threading
import time

import structlog
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from app.config import settings
from app.errors import TooMany

# A broker that does not answer holds a request up this long, once in the time after it.
PATIENCE_SECONDS = 0.2
RETRY_SECONDS = 30.0
log = structlog.get_logger()


def count(what: str, who: str, most: int, message: str) -> None:
    """Count one more of `what` by `who` in this minute; raises `TooMany` beyond `most`. 0: no limit.

    `message` says what to do, and is followed by when to try again.
    """
    if not most:
        return
    seconds = _counters(settings().broker).wait(RateLimitItemPerMinute(most), what, who)
    if seconds is not None:
        raise TooMany(
            f"{message} Try again in {seconds} s.",
            error_code="rate_limited",
            headers={"Retry-After": str(seconds)},
        )


class _Counters:
    def __init__(self, broker: str) -> None:
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._shared = _shared(broker)
        self._try_at = 0.0
        self._lock = threading.Lock()

    def wait(self, limit: RateLimitItemPerMinute, *names: str) -> int | None:
        """Count one more. The seconds until the next may come, or None if this one may."""
        if self._shared is not None and self._may_try():
            try:
                return _wait(self._shared, limit, names)
            except StorageError as error:
                log.warning("rate_limits_not_shared", error=str(error))
            with self._lock:
                self._try_at = time.monotonic() + RETRY_SECONDS
        return _wait(self._own, limit, names)

    def _may_try(self) -> bool:
        with self._lock:
            return time.monotonic() >= self._try_at


def _wait(limiter: FixedWindowRateLimiter, limit: RateLimitItemPerMinute, names: tuple[str, ...]) -> int | None:
    if limiter.hit(limit, *names):
        return None
    return max(math.ceil(limiter.get_window_stats(limit, *names).reset_time - time.time()), 1)


def _shared(broker: str) -> FixedWindowRateLimiter | None:
    url = broker.replace("redis+socket://", "redis+unix://").partition("?")[0]
    if not url.startswith(("redis://", "rediss://", "redis+unix://")):
        return None
    patience = {"socket_timeout": PATIENCE_SECONDS, "socket_connect_timeout": PATIENCE_SECONDS}
    return FixedWindowRateLimiter(
        storage_from_string(url, wrap_exceptions=True, key_prefix="agent-runners", **patience)
    )


_counters = functools.lru_cache(maxsize=4)(_Counters)
