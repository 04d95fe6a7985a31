"""Text from outside, made fit to be shown here, and to be sent to others."""

from __future__ import annotations

import re
import unicodedata

# Control characters, among them those that begin a terminal's escapes; formats, among them marks of direction and
# characters without any width; halves of pairs, private and unknown characters; separators of lines and paragraphs.
# Unicode Standard, table 4-4; https://www.unicode.org/reports/tr9/ says what marks of direction do.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Control characters, and what turns the direction of the text around it.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def readable(text: str) -> str:
    """`text` for a terminal or a log: an escape, as Python writes it, for everything that is not seen, but for newlines
    and tabs."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _UNSEEN else _escaped(c) for c in text)


def sendable(text: str) -> str:
    """`text` for a forge, where others show it: lines end in a newline, and there is an escape for control characters
    and for what turns the direction of text. Everything else is kept, such as the joiners of emoji and of Persian."""
    return _HARMFUL.sub(lambda found: _escaped(found[0]), re.sub("\r\n?", "\n", text))


def one_line(text: str) -> str:
    """`text` for a forge as a title or a name: as `sendable`, with a blank for each run of white space."""
    return sendable(" ".join(text.split()))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
