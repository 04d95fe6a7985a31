"""What one attempt may still use of time and output. Its commands, setup and agent, share one budget."""

from __future__ import annotations

import time

from workers.errors import EngineError, Stage
from workers.job import Limits

# From here on the caller is warned that the time is nearly used up.
_NEARLY_ALL = 0.9


class Budget:
    """Counts from the moment it is made. Time is that of the running machine: a laptop's sleep costs nothing."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._started = time.monotonic()
        self._output = 0
        self._warned = False

    @property
    def seconds_left(self) -> float:
        return self._started + self.limits.max_duration_seconds - time.monotonic()

    def check_time(self, stage: Stage) -> None:
        """Raise EngineError `time_limit` once the wall-clock limit has passed."""
        if self.seconds_left <= 0:
            limit = _spoken(self.limits.max_duration_seconds)
            raise EngineError("time_limit", stage, f"The session was ended at its time limit of {limit}.")

    def check_silence(self, since: float, stage: Stage) -> None:
        """Raise EngineError `stalled` where nothing was heard since `since`, on `time.monotonic`, for too long."""
        if time.monotonic() - since >= self.limits.stall_seconds:
            limit = _spoken(self.limits.stall_seconds)
            raise EngineError("stalled", stage, f"There was no output for {limit}.", retryable=True)

    def spend_output(self, size: int, stage: Stage) -> None:
        """Count `size` bytes of output. Raise EngineError `output_limit` where they are too many."""
        self._output += size
        if self._output > self.limits.max_output_bytes:
            limit = self.limits.max_output_bytes
            raise EngineError("output_limit", stage, f"There was more output than the limit of {limit:,} bytes.")

    def nearly_used(self) -> str | None:
        """Say once, when most of the time is gone, how much is left."""
        if self._warned or self.seconds_left > self.limits.max_duration_seconds * (1 - _NEARLY_ALL):
            return None
        self._warned = True
        return f"{_spoken(max(self.seconds_left, 0))} of {_spoken(self.limits.max_duration_seconds)} are left."


def _spoken(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.3g} seconds"
