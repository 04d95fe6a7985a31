"""Makes text safe to store and show: removes secrets first, then shortens it to its limit."""

from __future__ import annotations

from dataclasses import replace

from workers.errors import EngineError, FetchBusy
from workers.events import Outcome, Question, Step
from workers.job import Secrets
from workers.processes.lines import Line

_TITLE_CHARACTERS = 200
_REF_CHARACTERS = 200
_MESSAGE_BYTES = 16 * 1024
_RESULT_BYTES = 64 * 1024
_QUESTION_CHARACTERS = 1000
_CHOICE_CHARACTERS = 200
# Longer than any known secret.
_SECRET_CHARACTERS = 16 * 1024


class Redactor:
    """Redacts the text of one job. Text is shorten last, so that no part of a secret is left at a cut."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def text(self, text: str) -> str:
        """`text` without secrets, NUL and lone surrogates, which databases reject."""
        return self._secrets.redact(text).replace("\0", "\ufffd").encode(errors="replace").decode()

    def line(self, line: Line) -> Line:
        """A line that is safe to read. A cut line loses its last part too, which may hold the start of a secret."""
        if not line.lost:
            return line
        kept = self.text(line.data.decode(errors="replace"))[:-_SECRET_CHARACTERS].encode()
        return line._replace(data=kept, lost=line.lost + len(line.data) - len(kept))

    def step(self, step: Step) -> Step:
        """A step that is safe to store."""
        title = _cut(" ".join(self.text(step.title).split()), _TITLE_CHARACTERS)
        ref = self.text(step.ref)[:_REF_CHARACTERS] if step.ref else None
        return replace(step, title=title, message=shorten(self.text(step.message), _MESSAGE_BYTES), ref=ref)

    def failure(self, failure: EngineError) -> EngineError:
        """A failure whose message is safe to show."""
        if isinstance(failure, FetchBusy):
            # The caller knows it by its class, and its message quotes nothing.
            return failure
        message = shorten(self.text(failure.message), _MESSAGE_BYTES)
        return EngineError(failure.code, failure.stage, message, retryable=failure.retryable, retry_at=failure.retry_at)

    def question(self, question: Question) -> Question:
        """A question that is safe to store."""
        choices = tuple(_cut(self.text(each), _CHOICE_CHARACTERS) for each in question.choices)
        return Question(_cut(self.text(question.text), _QUESTION_CHARACTERS), choices)

    def outcome(self, outcome: Outcome) -> Outcome:
        """An outcome that is safe to store."""
        return replace(
            outcome,
            failure=outcome.failure and self.failure(outcome.failure),
            result=outcome.result and shorten(self.text(outcome.result), _RESULT_BYTES),
            title=outcome.title and self.text(outcome.title)[:_TITLE_CHARACTERS],
        )


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def shorten(text: str, limit: int) -> str:
    """`text` cut to about `limit` bytes of UTF-8. The middle is removed, because errors are mostly at the end."""
    data = text.encode(errors="replace")
    if len(data) <= limit:
        return text
    half = limit // 2 - 40
    left_out = len(data) - 2 * half
    start, end = (part.decode(errors="ignore") for part in (data[:half], data[-half:]))
    return f"{start}\n[... {left_out:,} bytes were left out]\n{end}"
