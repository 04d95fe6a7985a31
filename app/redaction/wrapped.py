"""Secrets in base64 or hexadecimal that is wrapped into lines of any length, as `base64` and `xxd -p` wrap it.

A secret that continues on the next line is recognized by the eight characters around the line break, with a few lookups
for each break. Each line is recognized without the others, because a title may be only the first line, and some lines
of long output are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

# The characters that a secret is recognized by. A line of fewer is left out.
_WINDOW = 8
_SHORTEST_LINE = 4
# A line break, plain or escaped in JSON. The search is fast because the alternatives start with a newline or backslash.
_BREAK = re.compile(r"(\n|\\n|\\r)")


class Wrapped:
    """Finds secrets by their encoded forms."""

    def __init__(self, encoded: Iterable[str]) -> None:
        self._encoded = tuple(encoded)
        self._windows = {
            whole[start : start + _WINDOW] for whole in self._encoded for start in range(len(whole) - _WINDOW + 1)
        }

    def redact(self, text: str, replacement: str) -> str:
        """`text` with the part of a wrapped secret on each line replaced by `replacement`."""
        if not self._windows:
            return text
        parts = _BREAK.split(text)
        lines = [(at, part.strip()) for at, part in enumerate(parts) if len(part) >= _SHORTEST_LINE]
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
        around = f"{before[-_WINDOW:]:>{_WINDOW}}{after[:_WINDOW]}"
        for place in range(_WINDOW + 1):
            window = around[place : place + _WINDOW]
            if window in self._windows:
                for whole in self._encoded:
                    if (start := whole.rfind(window)) >= 0:
                        middle = start + _WINDOW - place
                        yield whole[:middle], whole[middle:]


def _common_start(one: str, other: str) -> int:
    shorter = min(len(one), len(other))
    return next((at for at in range(shorter) if one[at] != other[at]), shorter)
