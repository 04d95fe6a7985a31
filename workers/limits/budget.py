"""The limits of one attempt on time, output, tokens and cost. Its commands, setup and agent, share one budget."""

from __future__ import annotations

import time
from collections.abc import Iterator

from workers.errors import EngineError, Stage
from workers.job import Limits, Step, Usage

# Shares of a limit at which a step warns: of time, tokens and cost; and of the time without output.
_NEARLY_ALL = 0.9
_LONG_SILENCE = 0.75
# The longest line allowed, as a multiple of the part of it that is kept.
_LONGEST_LINE = 64
_STALL = "AGENT_RUNNERS_STALL_SECONDS"


class Budget:
    """Counts from its creation. Time does not include suspension, such as a laptop's sleep."""

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
            message = (
                f"The session reached its time limit of {limit}. Raise limits.max_duration_seconds, or split the task."
            )
            raise EngineError("time_limit", stage, message)

    def note_output(self) -> None:
        """Record that the command has just written output."""
        self._last_output = time.monotonic()
        self._warned_of_silence = False

    def check_silence(self, stage: Stage) -> None:
        """Raise EngineError `stalled` if there was no output for too long."""
        if time.monotonic() - self._last_output >= self.limits.stall_seconds:
            limit = _format_seconds(self.limits.stall_seconds)
            message = f"There was no output for {limit}. Make long commands print progress, or raise {_STALL}."
            raise EngineError("stalled", stage, message, retryable=True)

    def spend_output(self, size: int, stage: Stage) -> None:
        """Count `size` bytes of output. Raise EngineError `output_limit` if the total is above the limit."""
        self._output += size
        if self._output > self.limits.max_output_bytes:
            limit = self.limits.max_output_bytes
            message = f"There was more output than the limit of {limit:,} bytes. Make the commands print less."
            raise EngineError("output_limit", stage, message)

    def check_line(self, size: int, stage: Stage) -> None:
        """Raise EngineError `output_limit` if one line, `size` bytes so far, is far too long."""
        limit = _LONGEST_LINE * self.limits.max_line_bytes
        if size > limit:
            message = f"One line of output was longer than the limit of {limit:,} bytes. Write it to a file instead."
            raise EngineError("output_limit", stage, message)

    def spend(self, usage: Usage, stage: Stage, *, is_done: bool) -> Iterator[Step]:
        """Check the totals that the agent reports, and warn once when most of the budget is used.

        Raises EngineError `budget_limit` if they exceed a limit, unless the agent is done: its work is paid for already.
        """
        tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
        for used, limit, text in (
            (tokens, self.limits.max_tokens, "{:,} of {:,} tokens"),
            (usage.cost_usd or 0, self.limits.max_cost_usd, "{:.4g} of {:.4g} US dollars"),
        ):
            if limit is None or used < limit * _NEARLY_ALL:
                continue
            if not self._warned_of_usage:
                self._warned_of_usage = True
                yield Step("The budget of this session is nearly used up", f"{text.format(used, limit)} are used.")
            if used > limit and not is_done:
                message = (
                    f"The session was ended because it used {text.format(used, limit)}. Raise the limit to use more."
                )
                raise EngineError("budget_limit", stage, message)

    def warnings(self) -> Iterator[Step]:
        """Warn once when most of the time is used, and once in each long period without output."""
        total, longest = self.limits.max_duration_seconds, self.limits.stall_seconds
        if not self._warned_of_time and self.seconds_left <= total * (1 - _NEARLY_ALL):
            self._warned_of_time = True
            left = f"{_format_seconds(max(self.seconds_left, 0))} of {_format_seconds(total)} are left."
            yield Step("The time for this session is nearly used up", left)
        silence = time.monotonic() - self._last_output
        if not self._warned_of_silence and silence >= longest * _LONG_SILENCE:
            self._warned_of_silence = True
            yield Step(
                f"No output for {_format_seconds(silence)}",
                f"At {_format_seconds(longest)} without output the session is ended.",
            )


def _format_seconds(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.3g} seconds"
