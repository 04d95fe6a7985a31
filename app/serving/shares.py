"""How many threads of a web process the requests of one account may occupy at once. The others of that account wait.

Threads of one process take turns, so each request that computes makes all others slower. An account that has used more than
its part of the processor time therefore has one thread while others are active, or none where another process serves it.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from app.errors import TooMany
from app.serving.processor_time import ProcessorTime
from app.streams.capacity import MOST_CONNECTIONS

MOST_WAITING = MOST_CONNECTIONS // 2
"""The requests of one account that wait at once."""


class MustWait(BaseException):
    """Ends a request for which nothing was done yet. It is served again as soon as another one of its account has ended.

    Not an `Exception`, so that nothing answers it.
    """


class Shares:
    """Threads take and leave. The connections that wait belong to the server's loop, which alone calls the rest."""

    def __init__(self, most: int, processor_time: ProcessorTime | None = None) -> None:
        self._most = most
        self.most_beyond_part = 1
        """The share of an account that has used more than its part while others are active."""
        self._processor_time = processor_time or ProcessorTime()
        self._lock = threading.Lock()
        self._is_ending = False
        self._taken = Counter[str]()
        self._announced = Counter[str]()
        self._waiting: dict[str, deque[Any]] = {}

    def take(self, who: str, *, is_account: bool = True) -> None:
        """Raises `MustWait` while `who` has its share, or others of it wait already; `TooMany` if too many do."""
        with self._lock:
            self._processor_time.note(who, is_account=is_account)
            if self._has_room(who) and not self._announced[who]:
                self._taken[who] += 1
                return
            if self._announced[who] >= MOST_WAITING:
                raise TooMany(
                    f"{MOST_WAITING} of your requests are waiting, which is the limit. Send fewer at once.",
                    error_code="too_many_requests_at_once",
                    headers={"Retry-After": "1"},
                )
            self._announced[who] += 1
            raise MustWait

    def _has_room(self, who: str) -> bool:
        return self._taken[who] < (self.most_beyond_part if self._is_beyond_part(who) else self._most)

    def _is_beyond_part(self, who: str) -> bool:
        return not self._is_ending and self._processor_time.is_exceeded(who)

    def is_beyond_part(self, who: str) -> bool:
        """Whether `who` has used more than its part of the processor time while another account is active."""
        with self._lock:
            return self._is_beyond_part(who)

    def end(self) -> None:
        """From now on, processor time does not count: the process ends soon, and what waits is to be served before."""
        with self._lock:
            self._is_ending = True

    def leave(self, who: str) -> None:
        with self._lock:
            _subtract(self._taken, who)

    def spend(self, who: str, seconds: float) -> None:
        """Note the processor time of a request that was served, or passed on."""
        with self._lock:
            self._processor_time.spend(who, seconds)

    def wait(self, who: str, connection: Any) -> None:
        """Keep the connection of a request that must wait."""
        self._waiting.setdefault(who, deque()).append(connection)

    def next(self, who: str) -> Any | None:
        """The connection that is to be served next, if one waits and there is room for it. Its request has its share now."""
        with self._lock:
            connection = self._pop(who, last=False) if self._has_room(who) else None
            if connection is not None:
                self._taken[who] += 1
            return connection

    def next_beyond_part(self, who: str) -> Any | None:
        """The connection that is to be served next, if `who` has used more than its part. It is to be served elsewhere."""
        with self._lock:
            return self._pop(who, last=False) if self._is_beyond_part(who) else None

    def put_back(self, who: str, connection: Any) -> None:
        """Have a connection wait again, before all others of `who`."""
        with self._lock:
            self._announced[who] += 1
            self._waiting.setdefault(who, deque()).appendleft(connection)

    def waiting(self) -> list[str]:
        """The accounts with requests that wait. There may be room for them by now, because others are active no more."""
        return list(self._waiting)

    def evict(self) -> Any | None:
        """The connection that came last, of whoever has the most that wait."""
        with self._lock:
            most = max(self._waiting, key=lambda who: len(self._waiting[who]), default="")
            return self._pop(most, last=True)

    def _pop(self, who: str, *, last: bool) -> Any | None:
        waiting = self._waiting.get(who)
        if not waiting:
            return None
        connection = waiting.pop() if last else waiting.popleft()
        if not waiting:
            del self._waiting[who]
        _subtract(self._announced, who)
        return connection


def _subtract(counter: Counter[str], who: str) -> None:
    counter[who] -= 1
    if not counter[who]:
        del counter[who]


class Share:
    """The part of one request in it."""

    def __init__(self, shares: Shares, read_seconds: float = 0.0) -> None:
        """`read_seconds` is the processor time that it took to receive the request."""
        self._shares, self._read_seconds = shares, read_seconds
        self.who: str | None = None
        """Whose request it is, once that is known."""
        self._is_taken = False

    def take(self, who: str, *, is_account: bool = True) -> None:
        """Raises as `Shares.take` does."""
        if not self._is_taken:
            self.who = who
            self._shares.take(who, is_account=is_account)
            self._is_taken = True

    def resume(self) -> None:
        """The request has waited, and `Shares.next` has given it its share."""
        self._is_taken = True

    def leave(self, seconds: float) -> None:
        """The thread is done with the request, for which it has used so much processor time.

        To have a request wait, or to refuse it, costs a little as well. That is not counted, so that an account whose clients
        try again and again is served all the same.
        """
        if self._is_taken and self.who is not None:
            self._is_taken = False
            self._shares.spend(self.who, self._read_seconds + seconds)
            self._shares.leave(self.who)


def take_share(environ: Mapping[str, Any], who: object, *, is_account: bool = True) -> None:
    """Count the request for `who`, an account unless said otherwise. Raises `MustWait` or `TooMany` if it occupies enough
    threads already.

    Call it before anything is done for the request. Other servers, such as that of tests, have no shares.
    """
    share = getattr(environ.get("gunicorn.socket"), "share", None)
    if isinstance(share, Share):
        share.take(str(who), is_account=is_account)
