"""Splits output into lines, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

Stream = Literal["out", "err"]


class Line(NamedTuple):
    """One line of output without its newline. `lost` counts the bytes that were cut off its end."""

    data: bytes
    stream: Stream = "out"
    lost: int = 0

    @property
    def text(self) -> str:
        """The line as text, with a note if it was cut."""
        note = f" [... {self.lost:,} more bytes of this line were left out]" if self.lost else ""
        return self.data.decode(errors="replace").rstrip("\r") + note


class LineSplitter:
    """Cuts the bytes of one stream into lines and keeps at most `limit` bytes of each."""

    def __init__(self, stream: Stream, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._kept = bytearray()
        self._lost = 0

    @property
    def pending(self) -> int:
        """The number of bytes of the current, incomplete line."""
        return len(self._kept) + self._lost

    def feed(self, data: bytes) -> Iterator[Line]:
        """The lines that `data` completes."""
        *complete, rest = data.split(b"\n")
        for part in complete:
            if self._kept or self._lost or len(part) > self._limit:
                self._keep(part)
                yield self._take()
            else:
                yield Line(part, self._stream)
        self._keep(rest)

    def finish(self) -> Iterator[Line]:
        """The last line, if it did not end with a newline."""
        if self._kept or self._lost:
            yield self._take()

    def _keep(self, part: bytes) -> None:
        room = self._limit - len(self._kept)
        self._kept += part[:room]
        self._lost += max(len(part) - room, 0)

    def _take(self) -> Line:
        line = Line(bytes(self._kept), self._stream, self._lost)
        self._kept.clear()
        self._lost = 0
        return line
