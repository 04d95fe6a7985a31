"""What one attempt may still use of time, output, tokens and money. Its commands, setup and agent, share one budget."""

from __future__ import annotations

import time
from collections.abc import Iterator

from workers.errors import EngineError, Stage
from workers.job import Limits, Step, Usage

# From here on the caller is warned that time, tokens or money are nearly used up, or a silence long.
_NEARLY_ALL = 0.9
_LONG_SILENCE = 0.75
# What goes on for so many times what is kept of a line was never meant to be lines.
_LONGEST_LINE = 64


class Budget:
    """Counts from the moment it is made. Time is that of the running machine: a laptop's sleep costs nothing."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._started = time.monotonic()
        self._last_output = self._started
        self._output = 0
        self._warned_of_time = self._warned_of_silence = self._warned_of_usage = False

    @property
    def seconds_left(self) -> float:
        return self._started + self.limits.max_duration_seconds - time.monotonic()

    def check_time(self, stage: Stage) -> None:
        """Raise EngineError `time_limit` once the wall-clock limit has passed."""
        if self.seconds_left <= 0:
            limit = _format_seconds(self.limits.max_duration_seconds)
            raise EngineError("time_limit", stage, f"The session was ended at its time limit of {limit}.")

    def note_output(self) -> None:
        """The command wrote something just now."""
        self._last_output = time.monotonic()
        self._warned_of_silence = False

    def check_silence(self, stage: Stage) -> None:
        """Raise EngineError `stalled` where nothing was heard for too long."""
        if time.monotonic() - self._last_output >= self.limits.stall_seconds:
            limit = _format_seconds(self.limits.stall_seconds)
            raise EngineError("stalled", stage, f"There was no output for {limit}.", retryable=True)

    def spend_output(self, size: int, stage: Stage) -> None:
        """Count `size` bytes of output. Raise EngineError `output_limit` where they are too many."""
        self._output += size
        if self._output > self.limits.max_output_bytes:
            limit = self.limits.max_output_bytes
            raise EngineError("output_limit", stage, f"There was more output than the limit of {limit:,} bytes.")

    def check_line(self, size: int, stage: Stage) -> None:
        """Raise EngineError `output_limit` where one line goes on beyond all that can be meant, `size` bytes so far."""
        limit = _LONGEST_LINE * self.limits.max_line_bytes
        if size > limit:
            message = f"There was a line of output that went on for more than the limit of {limit:,} bytes."
            raise EngineError("output_limit", stage, message)

    def spend(self, usage: Usage, stage: Stage, *, is_done: bool) -> Iterator[Step]:
        """Take the totals that the agent tells, and say once that most of what it may use is gone.

        Raises EngineError `budget_limit` where it used more than it may, unless it is done with its work: that has been
        paid for.
        """
        tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
        for used, limit, told in (
            (tokens, self.limits.max_tokens, "{:,} of {:,} tokens"),
            (usage.cost_usd or 0, self.limits.max_cost_usd, "{:.4g} of {:.4g} US dollars"),
        ):
            if limit is None or used < limit * _NEARLY_ALL:
                continue
            if not self._warned_of_usage:
                self._warned_of_usage = True
                yield Step("The budget of this session is nearly used up", f"{told.format(used, limit)} are used.")
            if used > limit and not is_done:
                raise EngineError("budget_limit", stage, f"The session used {told.format(used, limit)}, and was ended.")

    def warnings(self) -> Iterator[Step]:
        """Say once that most of the time is gone, and once in each silence that it has lasted long."""
        total, longest = self.limits.max_duration_seconds, self.limits.stall_seconds
        if not self._warned_of_time and self.seconds_left <= total * (1 - _NEARLY_ALL):
            self._warned_of_time = True
            left = f"{_format_seconds(max(self.seconds_left, 0))} of {_format_seconds(total)} are left."
            yield Step("The time for this session is nearly used up", left)
        silence = time.monotonic() - self._last_output
        if not self._warned_of_silence and silence >= longest * _LONG_SILENCE:
            self._warned_of_silence = True
            yield Step(
                f"Nothing was heard for {_format_seconds(silence)}",
                f"At {_format_seconds(longest)} the session will be ended.",
            )


def _format_seconds(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.3g} seconds"
