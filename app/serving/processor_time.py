"""Which accounts use a server lately, and which of them use much of its processor time."""

from __future__ import annotations

import hashlib
import math
import mmap
import time
from collections.abc import Callable

WINDOW_SECONDS = 5.0
"""An account is active for so long after its last request."""
PART = 0.05
"""The processor time that an account may use beside others in each process, in seconds a second."""
BURST_SECONDS = 0.25
"""What it may use at once beyond that."""
MOST_SECONDS = 3.0
"""What counts at most of what it has used, so that it is within its part again after a minute."""


class Activity:
    """The last request of each of the two accounts that were active last, in memory which those processes share that are
    forked once it was made.

    Two are enough to know whether anyone else is active. Processes write without a lock: at worst an account is missed
    until its next request.
    """

    def __init__(self) -> None:
        self._accounts = memoryview(mmap.mmap(-1, 16)).cast("q")
        self._last = memoryview(mmap.mmap(-1, 16)).cast("d")
        for place in (0, 1):
            self._last[place] = -math.inf

    def note(self, account: str, now: float) -> None:
        number, accounts = _number(account), self._accounts.tolist()
        oldest = 0 if self._last[0] < self._last[1] else 1
        place = accounts.index(number) if number in accounts else oldest
        self._accounts[place], self._last[place] = number, now

    def has_others(self, account: str, now: float) -> bool:
        """Whether another account is active, in any of the processes."""
        number = _number(account)
        return any(
            other != number and now - last < WINDOW_SECONDS
            for other, last in zip(self._accounts, self._last, strict=True)
        )


def _number(account: str) -> int:
    return int.from_bytes(hashlib.blake2b(account.encode(), digest_size=8).digest(), signed=True)


class ProcessorTime:
    """A leaky bucket for each account of a process: what it uses flows in, and `PART` flows out. Callers hold a lock."""

    def __init__(self, activity: Activity | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._activity, self._clock = activity or Activity(), clock
        self._used: dict[str, tuple[float, float]] = {}
        """What was in the bucket, and when that was. The account that was active last is the last one."""

    def note(self, who: str, *, is_account: bool) -> None:
        """`who` makes a request. Others are beside an account, not beside a file or an address."""
        if is_account:
            self._activity.note(who, self._clock())

    def spend(self, who: str, seconds: float) -> None:
        """`who` has used so much processor time for a request."""
        now = self._clock()
        used = min(self._in_bucket(who, now) + seconds, MOST_SECONDS)
        self._used.pop(who, None)
        self._used[who] = used, now
        while self._used[oldest := next(iter(self._used))][1] < now - MOST_SECONDS / PART:
            del self._used[oldest]

    def is_exceeded(self, who: str) -> bool:
        """Whether `who` has used more than its part while another account is active."""
        now = self._clock()
        return self._in_bucket(who, now) > BURST_SECONDS and self._activity.has_others(who, now)

    def _in_bucket(self, who: str, now: float) -> float:
        used, then = self._used.get(who, (0.0, now))
        return max(used - PART * (now - then), 0.0)
