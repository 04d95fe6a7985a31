"""Puts together what an agent says in pieces, so that a message is one step."""

from __future__ import annotations

from collections.abc import Iterator

from workers.agents.plain_output import step
from workers.events import Category, Step

# A longer message becomes more than one step.
_MOST_CHARACTERS = 16_000


class Speech:
    """The message in progress."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0
        self._category: Category = "message"
        self.last: str | None = None
        """The last whole message."""

    def add(self, piece: str, category: Category = "message") -> Iterator[Step]:
        """Add a piece, and yield the step that it completes, if any."""
        if category != self._category:
            yield from self.flush()
            self._category = category
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > _MOST_CHARACTERS:
            yield from self.flush()

    def flush(self) -> Iterator[Step]:
        """Yield the step of the message, which is complete."""
        text = "".join(self._pieces).strip()
        self._pieces, self._size = [], 0
        if text:
            if self._category == "message":
                self.last = text
            yield step(text, self._category)
