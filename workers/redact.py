"""Makes text fit to be stored and shown: without secrets that are known, and not longer than it may be."""

from __future__ import annotations

from dataclasses import replace

from workers.errors import EngineError
from workers.job import Event, Job, Outcome, Step

_TITLE_CHARACTERS = 200
_MESSAGE_BYTES = 16 * 1024
_RESULT_BYTES = 64 * 1024
# Shorter values, such as `true`, are words of many an innocent text.
_SHORTEST_SECRET = 8


class Redactor:
    """Knows the secrets of one job: the credential of its repository, and what the agent's variables hold."""

    def __init__(self, job: Job) -> None:
        values = {job.credential or "", *job.environment.values()}
        # A key of several lines is also told by one of them.
        lines = {line.strip() for value in values if "\n" in value for line in value.splitlines()}
        longest_first = sorted(values | lines, key=len, reverse=True)
        self._secrets = [value for value in longest_first if len(value) >= _SHORTEST_SECRET]

    def text(self, text: str) -> str:
        """`text` without secrets, and without what no database takes: NUL and halves of surrogate pairs."""
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text.replace("\0", "\ufffd").encode(errors="replace").decode()

    def event(self, event: Event) -> Event:
        """An event as it may be stored."""
        if not isinstance(event, Step):
            return event
        title = " ".join(self.text(event.title).split())
        if len(title) > _TITLE_CHARACTERS:
            title = title[: _TITLE_CHARACTERS - 3] + "..."
        return replace(event, title=title, message=shortened(self.text(event.message), _MESSAGE_BYTES))

    def failure(self, failure: EngineError) -> EngineError:
        """A failure whose message may be shown."""
        message = shortened(self.text(failure.message), _MESSAGE_BYTES)
        return EngineError(failure.code, failure.stage, message, retryable=failure.retryable)

    def outcome(self, outcome: Outcome) -> Outcome:
        """An outcome as it may be stored."""
        return replace(
            outcome,
            failure=outcome.failure and self.failure(outcome.failure),
            result=outcome.result and shortened(self.text(outcome.result), _RESULT_BYTES),
            title=outcome.title and self.text(outcome.title)[:_TITLE_CHARACTERS],
        )


def shortened(text: str, limit: int) -> str:
    """`text` cut to about `limit` bytes of UTF-8: the middle goes, as what went wrong is mostly told at the end."""
    data = text.encode()
    if len(data) <= limit:
        return text
    half = limit // 2 - 40
    left_out = len(data) - 2 * half
    start, end = (part.decode(errors="ignore") for part in (data[:half], data[-half:]))
    return f"{start}\n[... {left_out:,} bytes were left out]\n{end}"
