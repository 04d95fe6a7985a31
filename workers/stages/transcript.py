"""The steps and usage that the commands of one attempt report: redacted, and limited in number and size."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from workers.events import Event, Step, Usage
from workers.job import Limits
from workers.redaction import Redactor

_USAGE_SECONDS = 1.0


class Transcript:
    """Shared by setup and agent. Steps of the engine itself, such as refusals, bypass it and are always kept."""

    def __init__(self, limits: Limits, redactor: Redactor) -> None:
        self._limits = limits
        self._redactor = redactor
        self._steps = self._bytes = self._left_out = 0
        self._usage: Usage | None = None
        self._usage_due = 0.0

    def take(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events to record. Of usage, only the newest is passed on, at most once a second."""
        for event in events:
            match event:
                case Step():
                    yield from self._take_step(event)
                case Usage():
                    self._usage = event
                case _:
                    yield event
        if time.monotonic() >= self._usage_due:
            yield from self._newest_usage()

    def end_command(self, events: Iterable[Event]) -> Iterator[Event]:
        """Like `take`, for the last events of a command: usage that was held back follows."""
        yield from self.take(events)
        yield from self._newest_usage()

    def finish(self) -> Iterator[Step]:
        """The step that says how many steps were left out, if any."""
        if self._left_out:
            yield Step(f"{self._left_out:,} steps were left out", self._reason)

    def _take_step(self, step: Step) -> Iterator[Step]:
        if not self._left_out:
            redacted = self._redactor.step(step)
            size = sum(len(text.encode()) for text in (redacted.title, redacted.message, redacted.ref or ""))
            if self._steps < self._limits.max_steps and self._bytes + size <= self._limits.max_steps_bytes:
                self._steps += 1
                self._bytes += size
                yield redacted
                return
            # Reported immediately: a session that is stopped never gets the final step, which has the count.
            yield Step("Steps are left out from here on", self._reason)
        self._left_out += 1

    def _newest_usage(self) -> Iterator[Usage]:
        if self._usage:
            usage, self._usage = self._usage, None
            self._usage_due = time.monotonic() + _USAGE_SECONDS
            yield usage

    @property
    def _reason(self) -> str:
        limits = self._limits
        return f"A session keeps {limits.max_steps:,} steps and {limits.max_steps_bytes:,} bytes of their text."
