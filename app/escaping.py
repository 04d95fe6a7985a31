"""Makes text from outside safe to show here, and to send to others."""

from __future__ import annotations

import re
import unicodedata

# Control characters, which include the start of terminal escapes; format characters, which include direction marks and
# zero-width characters; surrogates, private-use and unassigned characters; line and paragraph separators. See the
# Unicode Standard, table 4-4, and https://www.unicode.org/reports/tr9/ on direction marks.
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Control characters, and those that change the direction of the text around them.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def readable(text: str) -> str:
    """`text` for a terminal or a log: invisible characters other than newline and tab become Python escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _INVISIBLE else _escaped(c) for c in text)


def sendable(text: str) -> str:
    """`text` for a forge, which shows it to others: line ends become newlines, and control characters and direction
    marks become escapes. Other invisible characters are kept, such as the joiners of emoji and of Persian."""
    return _HARMFUL.sub(lambda found: _escaped(found[0]), re.sub("\r\n?", "\n", text))


def one_line(text: str) -> str:
    """`text` as a title or a name for a forge: as `sendable`, with one space for each run of white space."""
    return sendable(" ".join(text.split()))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
