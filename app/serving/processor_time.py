"""Which accounts use a web process lately, and how many threads each may have for the processor time that it used."""

from __future__ import annotations

import time
from collections.abc import Callable

WINDOW_SECONDS = 5.0
"""An account is active for so long after its last request."""
PART = 0.25
"""The processor time that an account may use beside others without a further limit, in seconds a second."""
BURST_SECONDS = 0.25
"""What it may use at once beyond that. It has one thread from there on, and none beyond twice as much."""


class ProcessorTime:
    """A leaky bucket for each active account: what it uses flows in, and `PART` flows out. Callers hold a lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._used: dict[str, tuple[float, float]] = {}
        """What was in the bucket, and when that was. The account that was active last is the last one."""

    def note(self, who: str, seconds: float = 0.0) -> None:
        """`who` makes a request, or has used so much processor time for one."""
        now = self._clock()
        # A full bucket is empty by the time that the account counts as active no more.
        used = min(self._in_bucket(who, now) + seconds, PART * WINDOW_SECONDS)
        self._used.pop(who, None)
        self._used[who] = used, now

    def threads(self, who: str, most: int) -> int:
        """How many threads `who` may have: `most` if no other account is active, or while it uses no more than its part."""
        now = self._clock()
        while self._used and now - self._used[oldest := next(iter(self._used))][1] > WINDOW_SECONDS:
            del self._used[oldest]
        bursts = self._in_bucket(who, now) / BURST_SECONDS
        if len(self._used) < 2 or bursts <= 1:
            return most
        return 1 if bursts <= 2 else 0

    def _in_bucket(self, who: str, now: float) -> float:
        used, then = self._used.get(who, (0.0, now))
        return max(used - PART * (now - then), 0.0)
