"""Secrets in base64 that is broken into lines, as the program of that name breaks it after 76 characters.

It is broken between groups of four characters, whatever the columns. So a secret that goes on beyond an end of a line
is known by the eight characters there, which are looked up, whatever the length of the text. Each line is known without
the others: a title is the first of many, and of a flood some are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

_GROUP = 4
# An end of a line, and what JSON makes of one. Where each choice begins with a letter of its own the search is quick.
_BREAK = re.compile(r"(\n|\\n|\\r)")


class WrappedBase64:
    """Knows secrets by their base64, of which each ends with a whole group."""

    def __init__(self, encoded: Iterable[str]) -> None:
        # Where two have eight characters in common the longer one is looked for.
        self._places = {
            whole[start : start + 2 * _GROUP]: (whole, start)
            for whole in sorted(encoded, key=len)
            for start in range(len(whole) % _GROUP, len(whole) - _GROUP, _GROUP)
        }

    def without(self, text: str, replacement: str) -> str:
        """`text` with `replacement` in the place of what each line has of a secret that is broken at one of its ends."""
        if not self._places:
            return text
        parts = _BREAK.split(text)
        lines = [(at, part.strip()) for at, part in enumerate(parts) if len(part) >= _GROUP]
        heads: dict[int, int] = {}
        tails: dict[int, int] = {}
        for (above, before), (below, after) in pairwise([(-1, ""), *lines, (-1, "")]):
            for known, behind in self._at_break(before, after):
                tails[above] = max(tails.get(above, 0), _common_start(before[::-1], known[::-1]))
                heads[below] = max(heads.get(below, 0), _common_start(after, behind))
        for at, line in lines:
            head, tail = heads.get(at, 0), tails.get(at, 0)
            if line and head + tail >= len(line):
                parts[at] = replacement
            elif head or tail:
                middle = line[head : len(line) - tail]
                parts[at] = f"{replacement if head else ''}{middle}{replacement if tail else ''}"
        return "".join(parts)

    def _at_break(self, before: str, after: str) -> Iterable[tuple[str, str]]:
        """What is known to be broken between these lines, as what stands before the break and what behind it."""
        windows = (before[-2 * _GROUP :], 2), (before[-_GROUP:] + after[:_GROUP], 1), (after[: 2 * _GROUP], 0)
        for window, groups_before in windows:
            if window in self._places:
                whole, start = self._places[window]
                middle = start + groups_before * _GROUP
                yield whole[:middle], whole[middle:]


def _common_start(one: str, other: str) -> int:
    shorter = min(len(one), len(other))
    return next((at for at in range(shorter) if one[at] != other[at]), shorter)
