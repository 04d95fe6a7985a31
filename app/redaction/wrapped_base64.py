"""Secrets in base64 that is wrapped into lines, as the program `base64` wraps it after 76 characters.

Lines are wrapped between groups of four characters. So a secret that continues on the next line is recognized by the
eight characters around the line break, with one lookup for each break. Each line is recognized without the others,
because a title may be only the first line, and some lines of long output are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

_GROUP = 4
# A line break, plain or escaped in JSON. The search is fast because the alternatives start with a newline or backslash.
_BREAK = re.compile(r"(\n|\\n|\\r)")


class WrappedBase64:
    """Finds secrets by their base64 forms. Each form ends with a complete group."""

    def __init__(self, encoded: Iterable[str]) -> None:
        # If two have eight characters in common, the longer one is searched for.
        self._places = {
            whole[start : start + 2 * _GROUP]: (whole, start)
            for whole in sorted(encoded, key=len)
            for start in range(len(whole) % _GROUP, len(whole) - _GROUP, _GROUP)
        }

    def redact(self, text: str, replacement: str) -> str:
        """`text` with the part of a wrapped secret on each line replaced by `replacement`."""
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
        """The secrets that are wrapped between these lines, as the parts before and after the break."""
        windows = (before[-2 * _GROUP :], 2), (before[-_GROUP:] + after[:_GROUP], 1), (after[: 2 * _GROUP], 0)
        for window, groups_before in windows:
            if window in self._places:
                whole, start = self._places[window]
                middle = start + groups_before * _GROUP
                yield whole[:middle], whole[middle:]


def _common_start(one: str, other: str) -> int:
    shorter = min(len(one), len(other))
    return next((at for at in range(shorter) if one[at] != other[at]), shorter)
