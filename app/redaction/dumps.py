"""Secrets in dumps, as `xxd`, `hexdump` and `od` make them: bytes in hexadecimal, octal or decimal, or as characters.

The bytes are separated by spaces, colons, commas or hyphens, and may have offsets before them. Consecutive lines are read
as one sequence, in several ways. A line that holds a part of a secret is replaced from its first byte on, because
dumps repeat the bytes as text at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

LONGEST = 16
"""The characters that one byte takes in most dumps, with its part of the offset and of the text at the end of the line."""
# Of a secret that is cut where the dump begins or ends, fewer bytes are not recognized.
_SHORTEST_PART = 8
_CELL = r"(?:0[xX])?[0-9A-Fa-f]{1,16}(?![0-9A-Za-z])"
# They may begin a line of JSON, behind its \n.
_CELLS = re.compile(rf"(?:(?<![0-9A-Za-z])|(?<=\\[rn])){_CELL}(?:[,:;\t -]{{1,8}}{_CELL})++")
_SEPARATOR = re.compile(r"[,:;\t -]+")
_OFFSET = re.compile(r"(?:0[xX])?[0-9A-Fa-f]{6,16}[: ] *|(?:0[xX])?[0-9A-Fa-f]+: +")
# As `od -c` pads them: a character, or an escape such as \n or 012.
_CHARACTERS = re.compile(r"((?: {3}[^ \n]| {4}| {2}\\\S| [0-7]{3})+) *\Z")
_OCTAL_OFFSET = re.compile(r"[0-9A-Fa-f]{6,7}(?= )")
_ESCAPED = {"0": 0, "a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "\\": 92}
# These are quick, because they begin with characters that are rare: two cells, and two characters in a row or a column.
_MAY_BE_CELLS = re.compile(rf"[,:;\t -](?<=[0-9A-Fa-f].)[,:;\t -]{{0,7}}{_CELL}")
_MAY_BE_CHARACTERS = re.compile(r"   \S(?: {2,3}\S|(?:[\r\n]|\\[rn]){1,2}[0-9A-Fa-f]{0,7}   \S)")
# Most lines of a log have ids (RFC 9562) or times, which look like bytes. One byte of each is no ASCII text: the month, and
# the first of the fourth group. So no secret goes on there.
_ID_OR_TIME = re.compile(
    r"(?<![0-9A-Za-z])(?:"
    r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[1-8][0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}"
    r"|[0-9]{4}-(?:0[1-8]|1[0-2])-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z?"
    r")(?![0-9A-Za-z])"
)
_ROW_OF_FILE = re.compile(rb"\n[0-9A-Fa-f]{6,16}[: ]")
_LINE_END = re.compile(r"(\r?\n|\\r\\n|\\n|\r)")


@dataclass(frozen=True)
class _Row:
    """A line of a dump in one reading: its number, where its part begins and ends that is to be replaced, and its bytes."""

    number: int
    start: int
    end: int
    data: bytes


def redact(text: str, secrets: Sequence[bytes], replacement: str) -> str:
    """`text` without what dumps in it show of `secrets`."""
    if not _may_be_there(text):
        return text
    parts = _LINE_END.split(text)
    held: dict[int, tuple[int, int]] = {}
    for rows in _dumps(enumerate(parts[::2])):
        for row in _rows_with(rows, secrets):
            start, end = held.get(row.number, (row.start, row.end))
            held[row.number] = min(start, row.start), max(end, row.end)
    for number, (start, end) in held.items():
        line = parts[2 * number]
        parts[2 * number] = f"{line[:start]}{replacement}{line[end:]}"
    return "".join(parts)


def _may_be_there(text: str) -> bool:
    if _MAY_BE_CHARACTERS.search(text):
        return True
    # Each id or time is one cell here, so that a cell beside it counts.
    return _MAY_BE_CELLS.search(text) is not None and _CELLS.search(_ID_OR_TIME.sub("0", text)) is not None


def has_rows(content: bytes) -> bool:
    """Whether the content of a file may have a dump with offsets."""
    return _ROW_OF_FILE.search(b"\n" + content) is not None


def hold(content: bytes, secrets: Sequence[bytes]) -> bool:
    """Whether a dump with offsets in the content of a file shows the whole of one of `secrets`."""
    lines = enumerate(content.split(b"\n"))
    rows = ((number, line.decode("latin-1").rstrip("\r")) for number, line in lines if _ROW_OF_FILE.match(b"\n" + line))
    dumps = (b"".join(row.data for row in dump) for dump in _dumps(rows))
    return any(secret in data for data in dumps for secret in secrets)


def _dumps(lines: Iterable[tuple[int, str]]) -> Iterator[list[_Row]]:
    """The lines, with their numbers, that can be read as dumps: those of each dump, in each reading."""
    numbered = [each for each in lines if each[1]]
    cells = [(number, found) for number, line in numbered if (found := _cells(line))]
    rows = [
        [_Row(number, start, end, data) for number, (start, end, words) in cells if (data := read(words))]
        for read in _READINGS
    ]
    rows.append([row for number, line in numbered if (row := _characters(number, line))])
    for each in rows:
        for _, dump in groupby(enumerate(each), lambda item: item[1].number - item[0]):
            yield [row for _, row in dump]


def _cells(line: str) -> tuple[int, int, list[str]] | None:
    """The cells of a line, and which part of the line shows them."""
    found = max(_CELLS.finditer(line), key=lambda each: each.end() - each.start(), default=None)
    if found is None:
        return None
    start, end = found.span()
    is_row = not line[:start].strip(" \t>|+-")
    offset = _OFFSET.match(line, start)
    words = _SEPARATOR.split(found[0])
    if is_row and offset and (":" in offset[0] or len(words[0]) != len(words[1])):
        start = offset.end()
        # What follows two spaces is the text of `xxd`, which may look like more cells.
        ended = line.find("  ", start) if ":" in offset[0] else -1
        words = _SEPARATOR.split(line[start : end if ended < 0 else min(end, ended)])
    return (
        start,
        len(line) if is_row else end,
        [word[2:] if word[1:2] in ("x", "X") else word for word in words if word],
    )


def _in_order(words: list[str]) -> bytes:
    return bytes.fromhex("".join(_of_one_width(words)))


def _swapped(words: list[str]) -> bytes:
    """Words of a machine whose first byte is the lowest."""
    kept = _of_one_width(words)
    return b"".join(bytes.fromhex(word)[::-1] for word in kept) if kept and len(kept[0]) > 2 else b""


def _of_one_width(words: list[str]) -> list[str]:
    """The most consecutive words that have the same even number of digits; the last one of a file may have fewer."""
    runs = [list(run) for _, run in groupby(enumerate(words), lambda item: len(item[1]))]
    longest = max((run for run in runs if len(run[0][1]) % 2 == 0), key=len, default=[])
    if not longest:
        return []
    behind = words[longest[-1][0] + 1 :][:1]
    is_rest = behind and len(behind[0]) < len(longest[0][1]) and len(behind[0]) % 2 == 0
    return [word for _, word in longest] + (behind if is_rest else [])


def _octal(words: list[str]) -> bytes:
    width = len(words[0])
    if width not in (3, 6) or any(len(word) != width or not set(word) <= set("01234567") for word in words):
        return b""
    values = [int(word, 8) for word in words]
    size = width // 3
    return b"".join(value.to_bytes(size, "little") for value in values) if max(values) < 256**size else b""


def _decimal(words: list[str]) -> bytes:
    if any(len(word) > 3 or not word.isdecimal() for word in words):
        return b""
    values = [int(word) for word in words]
    return bytes(values) if max(values) < 256 else b""


_READINGS: tuple[Callable[[list[str]], bytes], ...] = (_in_order, _swapped, _octal, _decimal)


def _characters(number: int, line: str) -> _Row | None:
    """A line of `od -c`."""
    offset = _OCTAL_OFFSET.match(line)
    start = offset.end() if offset else 0
    found = _CHARACTERS.match(line, start)
    if found is None:
        return None
    shown = [found[1][at : at + 4] for at in range(0, len(found[1]), 4)]
    return _Row(number, start, len(line), bytes(_character(each.strip() or " ") for each in shown))


def _character(shown: str) -> int:
    if len(shown) == 3:
        return int(shown, 8) & 0xFF
    return _ESCAPED.get(shown[1], ord("?")) if len(shown) == 2 else ord(shown) & 0xFF


def _rows_with(rows: list[_Row], secrets: Iterable[bytes]) -> Iterator[_Row]:
    """The rows that show a part of a secret."""
    data = b"".join(row.data for row in rows)
    spans = [span for secret in secrets for span in _spans(data, secret)]
    at = 0
    for row in rows if spans else ():
        if any(start < at + len(row.data) and at < end for start, end in spans):
            yield row
        at += len(row.data)


def _spans(data: bytes, secret: bytes) -> Iterator[tuple[int, int]]:
    """Where the data has the secret, and where it has a part of it because the dump begins or ends there."""
    start = data.find(secret)
    while start >= 0:
        yield start, start + len(secret)
        start = data.find(secret, start + len(secret))
    if len(data) >= _SHORTEST_PART and data in secret:
        yield 0, len(data)
    parts = range(_SHORTEST_PART, min(len(secret), len(data)))
    # Most dumps have none of these, and finding that out is quick.
    if secret[-_SHORTEST_PART:] in data:
        yield from ((0, length) for length in parts if data.startswith(secret[-length:]))
    if secret[:_SHORTEST_PART] in data:
        yield from ((len(data) - length, len(data)) for length in parts if data.endswith(secret[:length]))
