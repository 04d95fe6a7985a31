"""Makes text fit to be stored and shown: without secrets, and then not longer than it may be."""

from __future__ import annotations

from dataclasses import replace

from workers.errors import EngineError
from workers.job import Outcome, Secrets, Step
from workers.processes.lines import Line

_TITLE_CHARACTERS = 200
_MESSAGE_BYTES = 16 * 1024
_RESULT_BYTES = 64 * 1024
# No secret is longer.
_SECRET_CHARACTERS = 16 * 1024


class Redactor:
    """Goes through what one job tells. Cutting comes last, so that it never leaves half of a secret."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def text(self, text: str) -> str:
        """`text` without secrets, and without what no database takes: NUL and halves of surrogate pairs."""
        return self._secrets.redact(text).replace("\0", "\ufffd").encode(errors="replace").decode()

    def line(self, line: Line) -> Line:
        """A line as it may be read: one whose end was lost ends early enough to hold no beginning of a secret there."""
        if not line.lost:
            return line
        kept = self.text(line.data.decode(errors="replace"))[:-_SECRET_CHARACTERS].encode()
        return line._replace(data=kept, lost=line.lost + len(line.data) - len(kept))

    def step(self, step: Step) -> Step:
        """A step as it may be stored."""
        title = " ".join(self.text(step.title).split())
        if len(title) > _TITLE_CHARACTERS:
            title = title[: _TITLE_CHARACTERS - 3] + "..."
        return replace(step, title=title, message=shortened(self.text(step.message), _MESSAGE_BYTES))

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
