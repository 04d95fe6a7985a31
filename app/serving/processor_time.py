"""Which accounts use a server lately, and which of them use much of its processor time."""

from __future__ import annotations

import math
import mmap
import time
import zlib
from collections.abc import Callable

WINDOW_SECONDS = 5.0
"""An account is active for so long after its last request."""
PART = 0.05
"""The processor time that an account may use beside others in each process, in seconds a second."""
BURST_SECONDS = 0.25
"""What it may use at once beyond that."""
MOST_SECONDS = 3.0
"""What counts at most of what it has used, so that it is within its part again after a minute."""
_SLOTS = 1024


class Activity:
    """When accounts made their last requests, in memory which those processes share that are forked once it was made.

    An account has one of many slots. Two that happen to have the same one count as one account here.
    """

    def __init__(self) -> None:
        self._last = memoryview(mmap.mmap(-1, _SLOTS * 8)).cast("d")
        for slot in range(_SLOTS):
            self._last[slot] = -math.inf

    def note(self, who: str, now: float) -> None:
        self._last[_slot(who)] = now

    def has_others(self, who: str, now: float) -> bool:
        """Whether another account is active, in any of the processes."""
        own = _slot(who)
        return any(last > now - WINDOW_SECONDS for slot, last in enumerate(self._last) if slot != own)


def _slot(who: str) -> int:
    return zlib.crc32(who.encode()) % _SLOTS


class ProcessorTime:
    """A leaky bucket for each account of a process: what it uses flows in, and `PART` flows out. Callers hold a lock."""

    def __init__(self, activity: Activity | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._activity, self._clock = activity or Activity(), clock
        self._used: dict[str, tuple[float, float]] = {}
        """What was in the bucket, and when that was. The account that was active last is the last one."""

    def note(self, who: str, seconds: float = 0.0) -> None:
        """`who` makes a request, or has used so much processor time for one."""
        now = self._clock()
        used = min(self._in_bucket(who, now) + seconds, MOST_SECONDS)
        self._used.pop(who, None)
        self._used[who] = used, now
        self._activity.note(who, now)
        while self._used[oldest := next(iter(self._used))][1] < now - MOST_SECONDS / PART:
            del self._used[oldest]

    def is_exceeded(self, who: str) -> bool:
        """Whether `who` has used more than its part while another account is active."""
        now = self._clock()
        return self._in_bucket(who, now) > BURST_SECONDS and self._activity.has_others(who, now)

    def _in_bucket(self, who: str, now: float) -> float:
        used, then = self._used.get(who, (0.0, now))
        return max(used - PART * (now - then), 0.0)
