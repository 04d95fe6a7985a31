"""The limits of one attempt on time, output, tokens and cost. Its commands, setup and agent, share one budget."""

from __future__ import annotations

import time
from collections.abc import Iterator

from workers.errors import BudgetNearlyUsed, EngineError, Stage
from workers.events import BudgetWarning, Step, Usage
from workers.job import Limits

# Shares of a limit at which a step warns: of time; of tokens and cost; and of the time without output.
_NEARLY_ALL = 0.9
_MOST = 0.8
_LONG_SILENCE = 0.75
# The longest line allowed, as a multiple of the part of it that is kept.
_LONGEST_LINE = 64
_STALL = "AGENT_RUNNERS_STALL_SECONDS"


class Budget:
    """Counts from its creation, tokens and cost on from what an `earlier` attempt used. Time does not include suspension,
    such as a laptop's sleep."""

    def __init__(self, limits: Limits, earlier: Usage | None = None) -> None:
        self.limits = limits
        self._earlier = earlier
        self._started = time.monotonic()
        self._last_output = self._started
        self._output = 0
        self._warned_of_time = self._warned_of_silence = self._warned_of_usage = False
        self._wraps_up = False

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

    def spend(
        self, usage: Usage, stage: Stage, *, is_done: bool, may_wrap_up: bool = False
    ) -> Iterator[Step | BudgetWarning]:
        """Check the totals that were counted or reported, and warn once when most of the budget is used.

        Raises EngineError `budget_limit` if they exceed a limit, unless the agent is done: its work is paid for already.
        Raises BudgetNearlyUsed, once, if so much is used that an agent that `may_wrap_up` is to do so.
        """
        reached = ""
        for used, limit, text in self._used(usage):
            if not self._warned_of_usage and used >= limit * _MOST:
                self._warned_of_usage = True
                message = f"{text.format(used, limit)} are used."
                yield Step("Most of this session's budget is used", message)
                yield BudgetWarning(f"The budget of the session: {message}")
            if used > limit and not is_done:
                message = (
                    f"The session was ended because it used {text.format(used, limit)}. Raise the limit to use more."
                )
                raise EngineError("budget_limit", stage, message)
            if used >= limit * self.limits.wrap_up_at:
                reached = reached or text.format(used, limit)
        if reached and may_wrap_up and not is_done and self.limits.wrap_up_at and not self._wraps_up:
            self._wraps_up = True
            share = f"{self.limits.wrap_up_at:.0%} of its budget"
            message = f"The session was ended at {share}: it used {reached}. Raise the limit to use more."
            raise BudgetNearlyUsed("budget_limit", stage, message)

    def begin_turn(self, before: Usage, *, is_counted: bool) -> None:
        """Another turn of the agent begins, after one that used `before`. `is_counted` says that the tokens and the cost of the
        next are counted together with those of this one."""
        used = Usage(cost_usd=0.0, tool_calls=before.tool_calls) if is_counted else before
        self._earlier = used.after(self._earlier)

    def total(self, usage: Usage) -> Usage:
        """What this attempt has used, and what the one before it has."""
        return usage.after(self._earlier)

    def is_exceeded(self, usage: Usage) -> bool:
        """Whether totals exceed a limit. May be asked from any thread."""
        return any(used > limit for used, limit, _ in self._used(usage))

    def _used(self, usage: Usage) -> Iterator[tuple[float, float, str]]:
        """For each limit that is set: what is used of it, the limit, and how to write both."""
        counted = [each for each in (self._earlier, usage) if each is not None]
        tokens = sum((each.input_tokens or 0) + (each.output_tokens or 0) for each in counted)
        if self.limits.max_tokens is not None:
            yield tokens, self.limits.max_tokens, "{:,} of {:,} tokens"
        if self.limits.max_cost_usd is not None:
            yield sum(each.cost_usd or 0 for each in counted), self.limits.max_cost_usd, "{:.4g} of {:.4g} US dollars"

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
                f"At {_format_seconds(longest)} without output the session ends.",
            )


def _format_seconds(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.3g} seconds"
