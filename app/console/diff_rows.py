"""A file of a git diff as rows for people: hunks, line numbers, colours, and the words that changed within a line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from markupsafe import Markup, escape

from app.console.rendering import LONGEST_LINE, Tokens, coloured, highlighter, visible

MOST_BYTES = 400_000
"""What is shown of one file. The whole diff can be downloaded."""
MOST_ROWS = 4_000
LONGEST_COMPARED, LEAST_COMMON = 200, 0.5
"""Words of a line that is compared with another one, and the part that both must share for changes to be marked."""
_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@ ?(.*)")
_WORDS = re.compile(r"\w+|\s+|.")


@dataclass(frozen=True)
class Row:
    """A line of the diff: `kind` is add, delete, same, hunk or note."""

    kind: str
    content: Markup
    old: int | None = None
    new: int | None = None
    text: str = ""
    """The line as it is in the diff, with its sign."""

    @property
    def name(self) -> str | None:
        """What comments and links call the line: `R12` by its number after the change, or `L12` for a removed one."""
        if self.new is not None:
            return f"R{self.new}"
        return None if self.old is None else f"L{self.old}"


@dataclass(frozen=True)
class Rows:
    rows: list[Row]
    is_cut: bool


def rows_of(patch: Iterable[bytes], path: str) -> Rows:
    """The rows of one file's patch, of which at most `MOST_BYTES` are read."""
    data = b""
    for chunk in patch:
        data += chunk
        if len(data) > MOST_BYTES:
            break
    lines = data[:MOST_BYTES].decode("utf-8", "replace").split("\n")
    found = list(_hunks(lines, path))
    is_cut = len(data) > MOST_BYTES or len(found) > MOST_ROWS
    return Rows(found[:MOST_ROWS], is_cut)


def _hunks(lines: list[str], path: str) -> Iterator[Row]:
    divide = highlighter(path)
    at = 0
    while at < len(lines):
        head = _HUNK.match(lines[at])
        at += 1
        if head is None:
            continue
        start = at
        left, right = int(head[2] or 1), int(head[4] or 1)
        while at < len(lines) and (left > 0 or right > 0 or lines[at].startswith("\\")):
            sign = lines[at][:1]
            left -= sign in (" ", "-")
            right -= sign in (" ", "+")
            at += 1
        while at < len(lines) and lines[at].startswith("\\"):
            at += 1
        yield Row("hunk", escape(visible(f"@@ -{head[1]} +{head[3]} @@ {head[5]}")))
        yield from _hunk(lines[start:at], int(head[1]), int(head[3]), divide)


def _hunk(lines: list[str], old: int, new: int, divide: Callable[[list[str]], list[Tokens]]) -> Iterator[Row]:
    texts = [line[1:LONGEST_LINE].rstrip("\r") for line in lines]
    tokens: dict[int, Tokens] = {}
    # Each side is coloured as the text that it is, so that strings and comments over several lines come out right.
    for signs in (" -", " +"):
        side = [i for i, line in enumerate(lines) if line[:1] in signs]
        tokens.update(zip(side, divide([texts[i] for i in side]), strict=True))
    changed = _changed_words(lines, texts)
    for i, line in enumerate(lines):
        if line[:1] == "\\":
            yield Row("note", escape("No newline at the end of the file"))
            continue
        is_old, is_new = line[:1] in " -", line[:1] in " +"
        kind = "same" if is_old and is_new else "delete" if is_old else "add"
        content = coloured(tokens.get(i, []), changed.get(i, []))
        yield Row(kind, content, old if is_old else None, new if is_new else None, line[:1] + texts[i])
        old, new = old + is_old, new + is_new


Ranges = list[tuple[int, int]]


def _changed_words(lines: list[str], texts: list[str]) -> dict[int, Ranges]:
    """Where lines changed of which only some words did: each deleted line is compared with the added one in its place."""
    found: dict[int, Ranges] = {}
    at = 0
    while at < len(lines):
        deleted = _run(lines, at, "-")
        added = _run(lines, at + deleted, "+")
        for i in range(at, at + min(deleted, added)):
            if pair := _compared(texts[i], texts[i + deleted]):
                found[i], found[i + deleted] = pair
        at += max(deleted + added, 1)
    return found


def _run(lines: list[str], at: int, sign: str) -> int:
    """How many lines from `at` on begin with a sign."""
    end = at
    while end < len(lines) and lines[end][:1] == sign:
        end += 1
    return end - at


def _compared(before: str, after: str) -> tuple[Ranges, Ranges] | None:
    """Where two lines differ; None if they have too little in common."""
    left, right = _WORDS.findall(before), _WORDS.findall(after)
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    if max(len(left), len(right)) > LONGEST_COMPARED or matcher.ratio() < LEAST_COMMON:
        return None
    sides: tuple[Ranges, Ranges] = ([], [])
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind != "equal":
            for ranges, words, start, end in ((sides[0], left, a, b), (sides[1], right, c, d)):
                begin = len("".join(words[:start]))
                ranges.append((begin, begin + len("".join(words[start:end]))))
    return sides
