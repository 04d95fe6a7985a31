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

_BREAK = "\u200b"
"""A zero-width space. Put into what a forge would act on, it leaves the words as they look."""
_ACTIVE = re.compile(
    r"(?<![A-Za-z0-9])@(?=\w)"  # a mention, which notifies people
    r"|(?:[#!]|\bGH-)(?=\d)"  # an issue or a pull request, which is linked, and closed after a keyword
    r"|\b(?:clos|fix|resolv|implement)(?=(?:e|es|ed|s|ing)?\b:?\s+https?://)"  # the same, with a URL
    r"|!(?=\[)"  # an image, which is loaded
    r"|<(?=[A-Za-z/!?])"  # HTML, whose comments hide text
    r"|\[(?=(?:skip|ci|no|actions)[ -](?:ci|skip|actions)\])"  # an order to skip checks
    r"|^[ \t]*(?=/[A-Za-z])"  # a command of GitLab or of a bot
    r"|^[ \t]*(?=(?:-{3,}|_{3,}|\*{3,}|={3,})[ \t]*$)",  # a line that ends a section, or a message sent as mail
    re.IGNORECASE | re.MULTILINE,
)
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$", re.MULTILINE)


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


def inert(text: str) -> str:
    """`text` that an agent wrote, for a forge: it mentions no one, closes no issue, loads no image, hides nothing and
    gives no command.

    An agent may repeat what it read in a file or on a web page, and the forge would act on it in the name of the user.
    A block of code that was left open is closed, so that what follows it is shown as it is meant.
    """
    text = _ACTIVE.sub(lambda found: found[0] + _BREAK, text)
    fence = _open_fence(text)
    return f"{text}\n{fence}" if fence else text


def _open_fence(text: str) -> str:
    """The fence that a block of Markdown code was opened with and not closed; empty if there is none."""
    fence = ""
    for found in _FENCE.finditer(text):
        marks, rest = found[1], found[2].strip()
        if not fence:
            # Backticks with another one behind them are code within a line.
            fence = marks if marks[0] == "~" or "`" not in rest else ""
        elif marks.startswith(fence) and not rest:
            fence = ""
    return fence


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
