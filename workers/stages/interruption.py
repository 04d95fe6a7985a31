"""Whether the work so far is kept after an interruption. The caller is asked once, while the agent is being killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from workers.errors import Interrupted
from workers.job import Job


class Interruption:
    """An interruption of one attempt: SIGTERM, which raises SystemExit, or a lost lease."""

    def __init__(self, job: Job) -> None:
        self._ask = job.on_interrupt
        self._keep: bool | None = None

    def report(self) -> bool:
        """Report the interruption to the caller of the engine, once. Returns whether to keep the work so far."""
        while self._keep is None:
            # A second SIGTERM may arrive before the caller has blocked it.
            with contextlib.suppress(SystemExit):
                self._keep = self._ask()
        return self._keep

    @contextlib.contextmanager
    def reporting(self, kill: Callable[[], None]) -> Iterator[None]:
        """Report an interruption where it happens. `kill` begins to end the processes that the enclosing contexts wait for,
        so that they do not run on while the caller looks at its record."""
        try:
            yield
        except (SystemExit, Interrupted):
            kill()
            self.report()
            raise
