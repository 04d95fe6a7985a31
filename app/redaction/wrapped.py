"""Secrets in base64 or hexadecimal that is wrapped into lines, as `base64` and `xxd -p` wrap it.

Lines are wrapped between groups of characters: four in base64, two in hexadecimal. So a secret that continues on the
next line is recognized by the eight characters around the line break, with a few lookups for each break. Each line is
recognized without the others, because a title may be only the first line, and some lines of long output are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise

# Half of the characters that a secret is recognized by.
_HALF = 4
# A line break, plain or escaped in JSON. The search is fast because the alternatives start with a newline or backslash.
_BREAK = re.compile(r"(\n|\\n|\\r)")


class Wrapped:
    """Finds secrets by their encoded forms, given with the size of a group. Each form ends with a complete group."""

    def __init__(self, encoded: Mapping[str, int]) -> None:
        self._places: dict[str, dict[str, int]] = {}
        for whole, group in encoded.items():
            for start in range(len(whole) % group, len(whole) - _HALF, group):
                self._places.setdefault(whole[start : start + 2 * _HALF], {})[whole] = start

    def redact(self, text: str, replacement: str) -> str:
        """`text` with the part of a wrapped secret on each line replaced by `replacement`."""
        if not self._places:
            return text
        parts = _BREAK.split(text)
        lines = [(at, part.strip()) for at, part in enumerate(parts) if len(part) >= _HALF]
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
        """The secrets that are wrapped between these lines, as the parts before and after the break."""
        windows = (before[-2 * _HALF :], 2), (before[-_HALF:] + after[:_HALF], 1), (after[: 2 * _HALF], 0)
        for window, halves_before in windows:
            for whole, start in self._places.get(window, {}).items():
                middle = start + halves_before * _HALF
                yield whole[:middle], whole[middle:]


def _common_start(one: str, other: str) -> int:
    shorter = min(len(one), len(other))
    return next((at for at in range(shorter) if one[at] != other[at]), shorter)
