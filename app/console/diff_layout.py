"""Other ways to lay out the rows of a file's diff: both sides beside each other, and without changes of white space."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import re
from collections.abc import Iterator

from markupsafe import Markup

from app.console.diff_rows import Row

MOST_COMPARED = 400
"""Lines in a row that are deleted or added. Of longer runs white space is not compared."""
_SPACE = re.compile(r"\s+")
_MARKS = re.compile("</?mark>")


def side_by_side(rows: list[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    """Each row of the left side with that of the right one. Headings and notes are on the left alone."""
    for is_change, group in itertools.groupby(rows, key=_is_change):
        if is_change:
            changed = list(group)
            sides = ([row for row in changed if row.kind == kind] for kind in ("delete", "add"))
            yield from itertools.zip_longest(*sides)
        else:
            yield from ((row, row if row.kind == "same" else None) for row in group)


def without_space_changes(rows: list[Row]) -> list[Row]:
    """The rows, where lines that differ in white space alone are unchanged."""
    found: list[Row] = []
    for is_change, group in itertools.groupby(rows, key=_is_change):
        same_kind = list(group)
        found += _compared(same_kind) if is_change else same_kind
    return found


def _is_change(row: Row) -> bool:
    return row.kind in ("delete", "add")


def _compared(changed: list[Row]) -> Iterator[Row]:
    deleted, added = ([row for row in changed if row.kind == kind] for kind in ("delete", "add"))
    if max(len(deleted), len(added)) > MOST_COMPARED:
        yield from changed
        return
    before, after = ([_SPACE.sub("", row.text[1:]) for row in side] for side in (deleted, added))
    for kind, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            for old, new in zip(deleted[a:b], added[c:d], strict=True):
                yield dataclasses.replace(new, kind="same", old=old.old, content=Markup(_MARKS.sub("", new.content)))
        else:
            yield from deleted[a:b]
            yield from added[c:d]
