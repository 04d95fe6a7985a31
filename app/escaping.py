"""Shows text from outside without obeying it."""

from __future__ import annotations

import unicodedata

# Control characters, among them those that begin a terminal's escapes; formats, among them marks of direction and
# characters without any width; halves of pairs, private and unknown characters; separators of lines and paragraphs.
# Unicode Standard, table 4-4; https://www.unicode.org/reports/tr9/ says what marks of direction do.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def readable(text: str) -> str:
    """`text` with an escape, as Python writes it, for everything that is not seen, but for newlines and tabs."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _UNSEEN else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
