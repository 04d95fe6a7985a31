"""Whether the work so far is kept after an interruption. The caller is asked once, before anything else is done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

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
    def reporting(self) -> Iterator[None]:
        """Report an interruption where it happens, before the enclosing contexts end their processes."""
        try:
            yield
        except (SystemExit, Interrupted):
            self.report()
            raise
