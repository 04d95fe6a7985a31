"""Comments on lines of a diff, and the prompt that sends them to the agent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from app.console.diff_rows import Row
from app.console.rendering import visible
from app.errors import invalid

MOST_COMMENTS = 100
MOST_QUOTED = 80
"""Lines of code that are quoted for one comment."""
_LINES = re.compile(r"([RL]?\d{1,9})(?:\s*-\s*([RL]?\d{1,9}))?")
_INTRODUCTION = (
    "These are review comments on your changes. Address each of them. Line numbers are those after the changes, unless a "
    "line is said to be removed."
)


@dataclass(frozen=True)
class Comment:
    """A comment on a file, or on the lines `first` to `last` of it, such as `R12`. `code` is None if the file is not
    quoted: the comment is about all of it, or about an earlier version."""

    path: str
    first: str
    last: str
    text: str
    code: list[Row] | None = None


def parse_lines(lines: str) -> tuple[str, str]:
    """The first and the last line of `R12-R15`, `L3` or `12-15`, which means `R12-R15`; both empty for a whole file.
    Raises `Invalid`."""
    lines = lines.strip()
    if not lines:
        return "", ""
    found = _LINES.fullmatch(lines)
    if found is None:
        raise invalid("lines", "must be a line such as 12, or lines such as 12-15", error_code="bad_lines")
    first, last = (name if name[0] in "RL" else f"R{name}" for name in (found[1], found[2] or found[1]))
    return first, last


def quoted(rows: list[Row], first: str, last: str) -> list[Row]:
    """The rows from one line to another one; raises `Invalid` if the diff does not show both."""
    places = {row.name: place for place, row in enumerate(rows) if row.name}
    for name in (first, last):
        if name not in places:
            message = f"names line {name[1:]}, which the diff does not show"
            raise invalid("lines", message, error_code="bad_lines")
    start, end = sorted((places[first], places[last]))
    return rows[start : end + 1]


def prompt_of(note: str, comments: Iterable[Comment]) -> str:
    """The comments as Markdown. What they quote cannot end its code block, and names cannot leave their line."""
    parts = [_INTRODUCTION, note.strip()]
    for comment in comments:
        parts.append(f"## {_code_span(comment.path)}{_place(comment)}")
        if comment.code:
            parts.append(_code_block(comment.code))
        parts.append(comment.text.strip())
    return "\n\n".join(part for part in parts if part) + "\n"


def _place(comment: Comment) -> str:
    if not comment.first:
        return ""
    first, last = (f"{name[1:]}{' (removed)' if name[0] == 'L' else ''}" for name in (comment.first, comment.last))
    lines = f"line {first}" if first == last else f"lines {first} to {last}"
    return f", {lines}" + ("" if comment.code else " of an earlier version")


def _code_span(text: str) -> str:
    shown = visible(text).replace("\n", "\\n").replace("\t", "\\t")
    fence = "`" * (_longest_run(shown) + 1)
    space = " " if shown[:1] in ("`", " ", "") or shown[-1:] in ("`", " ") else ""
    return f"{fence}{space}{shown}{space}{fence}"


def _code_block(rows: list[Row]) -> str:
    lines = [visible(row.text) for row in rows if row.name]
    left = len(lines) - MOST_QUOTED
    lines = [*lines[:MOST_QUOTED], *([f"… {left} more lines"] if left > 0 else [])]
    fence = "`" * max(_longest_run("\n".join(lines)) + 1, 3)
    return "\n".join([f"{fence}diff", *lines, fence])


def _longest_run(text: str) -> int:
    """The length of the longest run of backticks."""
    return max((len(run) for run in re.findall("`+", text)), default=0)
