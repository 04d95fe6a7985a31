"""What an interruption means for the work so far: asked once, and before anything else is done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from workers.errors import Interrupted
from workers.job import Job


class Interruption:
    """The interruption that an attempt may meet: SIGTERM, which raises SystemExit, or a lost lease."""

    def __init__(self, job: Job) -> None:
        self._ask = job.on_interrupt
        self._keep: bool | None = None

    def notice(self) -> bool:
        """Tell the caller of the engine, the first time, and say whether the work so far is to be kept."""
        while self._keep is None:
            # A second SIGTERM may come before the caller has seen to it that there is none.
            with contextlib.suppress(SystemExit):
                self._keep = self._ask()
        return self._keep

    @contextlib.contextmanager
    def noticed(self) -> Iterator[None]:
        """Notice an interruption where it happens, before the contexts around end what they hold."""
        try:
            yield
        except (SystemExit, Interrupted):
            self.notice()
            raise
