"""The ends of logs of jobs, read from a forge in bounded time."""

from __future__ import annotations

import time

from workers.errors import EngineError
from workers.forges.http import Limits
from workers.forges.rest import Rest

_KEPT, _MOST_BYTES = 256 * 1024, 32 * 1024**2
# Of one log, and of all.
_SECONDS, _SECONDS_OF_ALL = 5.0, 9.0


class Logs:
    """Reads logs by the API of a forge, as long as there is time for all of them."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._seconds_left = _SECONDS_OF_ALL

    def read(self, path: str, what: str) -> str:
        """The last part of the log at `path` of the API; empty if it cannot be read. The forge may redirect to a server that
        has the log, which does not get the token."""
        seconds, started = min(_SECONDS, self._seconds_left), time.monotonic()
        try:
            with self._rest.translated():
                return self._rest.read_end(path, what, _KEPT, Limits(seconds, seconds, 1, _MOST_BYTES))
        except EngineError:
            return ""
        finally:
            self._seconds_left -= time.monotonic() - started
