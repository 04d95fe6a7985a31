"""Checks that a caller's diff is a complete git diff. It is read as a stream, with one line in memory.

`git apply` skips lines that it does not understand, so this checks every line against the format that git writes. See
"GENERATING PATCH TEXT WITH -p" in git-diff(1). Whether the diff applies is checked later, by git.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable, Iterable, Iterator

_HEAD_BYTES = 65_536
"""How much of a line is read. Two names of 4,096 bytes each in octal escapes are shorter."""
_MOST_INFLATED = 64 * 1024**2
"""How many bytes of binary files are inflated. A diff of some megabytes can hold gigabytes, which take seconds. Of files
beyond that, only git finds damage in the compressed content, when it applies the diff."""
_FILE = b"diff --git "
_IN_BASE64 = base64.b64encode(_FILE)[:-4]
_METADATA = re.compile(
    rb"(?:new file mode|deleted file mode|old mode|new mode|(?:dis)?similarity index|rename (?:from|to|old|new)|copy (?:from|to)) "
)
_INDEX = re.compile(rb"index ([0-9a-f]{4,64})\.\.([0-9a-f]{4,64})( [0-7]+)?")
_EMPTY_FILE = b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
_HUNK = re.compile(rb"@@ -[0-9]+(?:,([0-9]{1,18}))? \+[0-9]+(?:,([0-9]{1,18}))? @@")
_BINARY = re.compile(rb"(?:literal|delta) ([0-9]{1,18})")
_BASE85 = re.compile(rb"[A-Za-z](?:[0-9A-Za-z!#$%&()*+\-;<=>?@^_`{|}~]{5})+")
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class DamagedDiff(ValueError):
    """The content is not a complete git diff. The message says where and why."""


def whole_diff(chunks: Iterable[bytes], most_bytes: int, most_files: int) -> Iterator[bytes]:
    """The diff in `chunks`, with missing newlines at the end restored, and decoded if it is base64.

    Raises DamagedDiff after yielding everything before the damage, or if the binary files in it exceed `most_bytes`, or
    it has more than `most_files` files. Use the diff only when the iterator has ended.
    """
    check = _Check(most_bytes, most_files)
    for chunk in _decoded(chunks):
        check.read(chunk)
        yield chunk
    if missing := check.end():
        yield missing


class _Check:
    """Reads a diff line by line. `_expect` checks the next line."""

    def __init__(self, most_bytes: int, most_files: int) -> None:
        self._left = most_bytes
        self._files_left = most_files
        self._inflated_left = _MOST_INFLATED
        self._line = bytearray()
        self._number = 0
        self._expect: Callable[[bytes], None] = self._file

    def read(self, chunk: bytes) -> None:
        first, *others = chunk.split(b"\n")
        self._take(first)
        if others:
            self._next()
            *whole, last = others
            for line in whole:
                self._number += 1
                self._expect(line)
            self._take(last)

    def _take(self, piece: bytes) -> None:
        self._line += piece[: _HEAD_BYTES - len(self._line)]

    def _next(self) -> None:
        line = bytes(self._line)
        self._line.clear()
        self._number += 1
        self._expect(line)

    def end(self) -> bytes:
        """What is missing at the end of an otherwise complete diff; usually nothing."""
        missing = b""
        if self._line:
            self._next()
            missing = b"\n"
        # Only of what is inflated is the end known.
        if self._expect == self._binary_data and self._inflate is not None and self._may_end:
            self._binary_data(b"")
            missing += b"\n"
        if self._expect in (self._headers, self._after_hunk, self._binary_reverse):
            self._end_file()
        elif self._number:
            raise self._damaged("the diff ends in the middle of a file")
        return missing

    def _damaged(self, reason: str) -> DamagedDiff:
        return DamagedDiff(f"line {self._number}: {reason}")

    def _file(self, line: bytes) -> None:
        if not line.startswith(_FILE) or line.endswith(b"\r"):
            raise self._damaged("a file must begin with 'diff --git a/... b/...'")
        self._files_left -= 1
        if self._files_left < 0:
            raise self._damaged("the diff has more files than this deployment allows")
        self._header = line
        self._seen: set[bytes] = set()
        self._has_content = self._needs_content = False
        self._expect = self._headers

    def _end_file(self) -> None:
        if not self._has_content and (self._needs_content or not self._seen - {b"index "}):
            raise self._damaged("the previous file has no content")

    def _next_file(self, line: bytes) -> None:
        """After a complete part of a file the next file may begin. Empty lines between two files are ignored."""
        if line:
            self._end_file()
            self._file(line)

    def _headers(self, line: bytes) -> None:
        if index := _INDEX.fullmatch(line):
            self._note(b"index ")
            self._needs_content = not all(_is_empty(name) for name in index.group(1, 2))
        elif metadata := _METADATA.match(line):
            self._note(metadata[0])
        elif line.startswith(b"--- "):
            self._check_name(line, self._header.startswith(_FILE + _name(line) + b" "))
            self._expect = self._new_name
        elif line == b"GIT binary patch":
            self._expect = self._binary_forward
        elif line.startswith((b"Binary files ", b"Files ")) and line.endswith(b" differ"):
            raise self._damaged("the content of a binary file was left out; make the diff with git diff --binary")
        else:
            self._next_file(line)

    def _note(self, header: bytes) -> None:
        if header in self._seen:
            raise self._damaged(f"'{header.decode().strip()}' appears twice for one file")
        self._seen.add(header)

    def _check_name(self, line: bytes, matches_header: bool) -> None:
        if not matches_header and _name(line) != b"/dev/null":
            raise self._damaged("the file has another name than in its 'diff --git' line")

    def _new_name(self, line: bytes) -> None:
        if not line.startswith(b"+++ "):
            raise self._damaged("'+++' must follow '---'")
        self._check_name(line, self._header.endswith(b" " + _name(line)))
        self._expect = self._hunk

    def _hunk(self, line: bytes) -> None:
        header = _HUNK.match(line)
        if header is None:
            raise self._damaged("a hunk must begin with '@@ -line,count +line,count @@'")
        self._old, self._new = (1 if count is None else int(count) for count in header.groups())
        self._has_content = True
        self._expect = self._hunk_line

    def _hunk_line(self, line: bytes) -> None:
        sign = line[:1]
        if sign == b"+":
            self._new -= 1
        elif sign == b"-":
            self._old -= 1
        elif sign in (b" ", b""):
            # Some programs strip trailing spaces, and git reads an empty line as an empty context line.
            self._old -= 1
            self._new -= 1
        elif not line.startswith(b"\\ "):
            raise self._damaged("a line of a hunk must begin with a space, '+', '-' or a backslash")
        if self._old < 0 or self._new < 0:
            raise self._damaged("the hunk has more lines than its '@@' line says")
        if self._old == self._new == 0:
            self._expect = self._after_hunk

    def _after_hunk(self, line: bytes) -> None:
        if line.startswith(b"@@ "):
            self._hunk(line)
        elif not line.startswith(b"\\ "):
            self._next_file(line)

    def _binary_forward(self, line: bytes) -> None:
        size = _BINARY.fullmatch(line)
        if size is None:
            raise self._damaged("the content of a binary file must begin with 'literal' or 'delta' and a number")
        self._missing = int(size[1])
        self._left -= self._missing
        if self._left < 0:
            raise self._damaged("the binary files are larger than this deployment allows")
        self._inflated_left -= self._missing
        self._inflate = zlib.decompressobj() if self._inflated_left >= 0 else None
        self._has_content = True
        self._is_forward = self._expect == self._binary_forward
        self._expect = self._binary_data

    def _binary_data(self, line: bytes) -> None:
        if line:
            self._missing -= self._inflated(line)
        elif not self._may_end:
            raise self._damaged("the content of a binary file is not complete")
        else:
            self._expect = self._binary_reverse if self._is_forward else self._after_hunk
        if self._missing < 0:
            raise self._damaged("the content of a binary file is longer than its length says")

    @property
    def _may_end(self) -> bool:
        """Whether the binary file may be complete, as far as is known."""
        return self._inflate is None or (self._inflate.eof and not self._missing)

    def _inflated(self, line: bytes) -> int:
        """The number of bytes that a line of a binary file inflates to, 0 if it is not inflated. A line has at most 52 bytes,
        which bounds it."""
        length = _LETTERS.find(line[:1]) + 1
        try:
            if not _BASE85.fullmatch(line) or not length <= len(line) // 5 * 4 < length + 4:
                raise ValueError
            if self._inflate is None:
                return 0
            if self._inflate.eof:
                raise ValueError
            return len(self._inflate.decompress(base64.b85decode(line[1:])[:length]))
        except (ValueError, zlib.error):
            raise self._damaged("the content of a binary file is damaged") from None

    def _binary_reverse(self, line: bytes) -> None:
        """The old content may follow the new one, for applying the diff in reverse."""
        if _BINARY.fullmatch(line):
            self._binary_forward(line)
        else:
            self._next_file(line)


def _name(line: bytes) -> bytes:
    """The file name in a '---' or '+++' line. A tab marks the end of a name with spaces."""
    return line[4:].removesuffix(b"\t")


def _is_empty(object_id: bytes) -> bool:
    """Whether an id, which may be abbreviated, is that of no file or of an empty one."""
    return not object_id.strip(b"0") or _EMPTY_FILE.startswith(object_id)


def _decoded(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks, decoded if they are a diff in base64, as some clients send diffs with binary files."""
    is_base64: bool | None = None
    rest = b""
    for chunk in chunks:
        rest += chunk
        if is_base64 is None and len(rest) >= len(_IN_BASE64):
            is_base64 = rest.startswith(_IN_BASE64)
        if is_base64:
            rest = b"".join(rest.split())
            usable = len(rest) // 4 * 4
            yield from _from_base64(rest[:usable])
            rest = rest[usable:]
        elif is_base64 is False:
            yield rest
            rest = b""
    if is_base64:
        yield from _from_base64(rest + b"=" * (-len(rest) % 4))
    elif rest:
        yield rest


def _from_base64(text: bytes) -> Iterator[bytes]:
    try:
        if data := base64.b64decode(text, validate=True):
            yield data
    except binascii.Error:
        raise DamagedDiff("it is base64 that cannot be decoded") from None
