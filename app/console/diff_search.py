"""Searches the lines of a diff."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.console.rendering import LONGEST_LINE

MOST_BYTES = 32 * 2**20
MOST_HITS = 50
_HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")


@dataclass(frozen=True)
class Hit:
    """A line that contains the text: of the file with this number, under the name that links and comments use."""

    file: int
    line: str
    sign: str
    text: str


@dataclass(frozen=True)
class Hits:
    hits: list[Hit]
    is_cut: bool
    """Whether there may be more: only the first `MOST_HITS`, in the first `MOST_BYTES`, are found."""


def search(chunks: Iterable[bytes], text: str) -> Hits:
    """The lines of a diff that contain `text`, where upper and lower case of ASCII letters are the same."""
    needle = text.encode().lower()
    hits: list[Hit] = []
    read = _Read()
    for hit in _hits(read.lines(chunks), needle):
        hits.append(hit)
        if len(hits) == MOST_HITS:
            return Hits(hits, True)
    return Hits(hits, read.is_cut)


class _Read:
    """The lines of chunks, up to a limit."""

    def __init__(self) -> None:
        self.is_cut = False

    def lines(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        rest, size = b"", 0
        for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
            size += len(chunk)
            if size > MOST_BYTES:
                self.is_cut = True
                return
        yield rest


def _hits(lines: Iterator[bytes], needle: bytes) -> Iterator[Hit]:
    file, old, new, left, right = -1, 0, 0, 0, 0
    for line in lines:
        sign = line[:1]
        if left > 0 or right > 0:
            # Within a hunk nothing is a header, whatever it looks like.
            if sign != b"\\" and needle in line[1:].lower():
                name = f"L{old}" if sign == b"-" else f"R{new}"
                yield Hit(file, name, sign.decode("latin-1"), line[1:LONGEST_LINE].decode("utf-8", "replace"))
            is_old, is_new = sign in (b" ", b"-"), sign in (b" ", b"+")
            old, new, left, right = old + is_old, new + is_new, left - is_old, right - is_new
        elif line.startswith(b"diff --git ") or file < 0:
            file += 1
        elif head := _HUNK.match(line):
            old, new, left, right = int(head[1]), int(head[3]), int(head[2] or 1), int(head[4] or 1)
