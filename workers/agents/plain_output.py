"""Groups lines of plain output into steps, so that a program that prints a lot makes few steps."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator

from workers.events import Category, Step
from workers.job import Secrets

_SECONDS, _FIRST_SECONDS = 0.5, 0.01
_HEAD_CHARACTERS = 4096
_TAIL_LINES = 20
# Colours and cursor movements (CSI); titles, links and other strings (OSC, DCS, SOS, PM, APC), which end with BEL, with
# ESC \\, or with a line that is cut off; and all other sequences. No part can match the same text in two ways, so the
# time is proportional to the length of the line.
_CONTROL_SEQUENCES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class PlainOutput:
    """Makes steps of lines, at most two a second, each of at most the first 4 KB and the last lines.

    The first lines after a step and a silence are shown at once, together with what is printed in the same moment.
    It redacts `secrets` before it cuts a line: a part of a secret could not be recognised later.
    """

    def __init__(self, secrets: Secrets, category: Category = "message") -> None:
        self._secrets = secrets
        self._category: Category = category
        self._head: list[str] = []
        self._head_size = 0
        self._rest: deque[str] = deque(maxlen=_TAIL_LINES)
        self._left_out = 0
        self._since = 0.0
        self._last_step_at: float | None = None
        self._last: deque[str] = deque(maxlen=_TAIL_LINES)

    @property
    def tail(self) -> str:
        """The last lines of output, for the message of a failure."""
        return "\n".join(self._last).strip()

    @property
    def last_line(self) -> str | None:
        """The last line that is not blank."""
        return next((line for line in reversed(self._last) if line.strip()), None)

    def feed(self, text: str) -> Iterator[Step]:
        """Add a line, and yield the step that is due, if any."""
        self.add(text)
        yield from self.tick()

    def add(self, text: str) -> None:
        """Add a line."""
        line = plain(text)
        if len(line) > _HEAD_CHARACTERS:
            line = f"{self._secrets.redact(line)[:_HEAD_CHARACTERS]} ..."
        self._last.append(line)
        if not self._head:
            self._since = time.monotonic()
        if self._head_size + len(line) <= _HEAD_CHARACTERS and not self._rest:
            self._head.append(line)
            self._head_size += len(line) + 1
        else:
            self._left_out += len(self._rest) == _TAIL_LINES
            self._rest.append(line)

    def tick(self) -> Iterator[Step]:
        """Yield the step that is due, if any."""
        last = self._since if self._last_step_at is None else self._last_step_at
        due_at = max(self._since + _FIRST_SECONDS, last + _SECONDS)
        if self._head and time.monotonic() >= due_at:
            self._last_step_at = time.monotonic()
            yield from self.flush()

    def flush(self) -> Iterator[Step]:
        """Yield a step of all collected lines."""
        note = [f"[... {self._left_out:,} lines were left out]"] if self._left_out else []
        lines = [*self._head, *note, *self._rest]
        self._head.clear()
        self._rest.clear()
        self._head_size = self._left_out = 0
        text = "\n".join(lines).strip("\n")
        if text.strip():
            yield step(text, self._category)


def plain(line: str) -> str:
    """What a terminal shows after `line`: the last frame of a progress bar, without control sequences.

    A carriage return starts a frame. An empty frame erases nothing. Any other control character becomes a space: what it
    separates may be two secrets, which are not recognised side by side.
    """
    shown = line if line.isprintable() else _CONTROL_SEQUENCES.sub("", line)
    if "\r" in shown:
        frames = [frame for frame in shown.split("\r") if frame.strip()]
        shown = frames[-1] if frames else ""
    return shown if shown.isprintable() else _CONTROLS.sub(" ", shown)


def plain_text(text: str) -> str:
    """`plain` for each line of a text."""
    return "\n".join(plain(line) for line in text.split("\n"))


def step(text: str, category: Category = "message", ref: str | None = None) -> Step:
    """A step with the first line of `text` as its title. If there is more than fits, the text is its message."""
    first, _, more = text.strip().partition("\n")
    return Step(first, text if more or len(first) > 200 else "", category=category, ref=ref)
