"""The files of a git diff: where each begins, and its name, status, modes and numbers of lines. The diff is read in chunks.

A line of content begins with a sign, and a line of a binary patch has no space, so only a header can look like one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.models.states import FileStatus
from app.sensitive_files import kind_of

_FILE, _BINARY = b"\ndiff --git ", b"\nGIT binary patch\n"
_CONTENT = re.compile(rb"\n(?:@@ |GIT binary patch)")
_WHOLE = re.compile(rb"\n@@ -(0,0|1(?:,\d{1,18})?) \+(0,0|1(?:,\d{1,18})?) @@")
_FIELD = re.compile(
    rb"\n((?:old|new|new file|deleted file) mode|(?:rename|copy) (?:from|to)|index|---|\+\+\+) ([^\n]*)"
)
_MOST_LINE_BYTES = 65_536
"""How much of an unfinished line is kept. Two names of 4,096 bytes each in octal escapes are shorter."""
_MOST_HEADER_BYTES = 4 * _MOST_LINE_BYTES
_ESCAPE = re.compile(rb'\\([abtnvfr"\\]|[0-7]{3})')
_ESCAPES = dict(zip(b'abtnvfr"\\', b'\a\b\t\n\v\f\r"\\', strict=True))
_LETTERS = {byte: chr(letter) for letter, byte in _ESCAPES.items()}


class DiffFile(NamedTuple):
    """One file of a diff. `offset` and `size` say which bytes of the diff are about it.

    `path` is the name after the change, or before it if the file is deleted. `old_path` is set if the file was renamed
    or copied. Modes are in octal, and None if the file did not exist or the diff does not tell. `additions` and
    `deletions` are numbers of lines, and 0 for a binary file.
    """

    path: str
    old_path: str | None
    status: FileStatus
    additions: int
    deletions: int
    binary: bool
    old_mode: str | None
    new_mode: str | None
    offset: int
    size: int

    @property
    def sensitive(self) -> str | None:
        """What a reviewer should not miss about it, such as `CI workflows`. None: it is a file like any other."""
        return kind_of(self.path) or (kind_of(self.old_path) if self.old_path else None)


class DiffReader:
    """Finds the files of a diff while it is read. Memory does not grow with the diff.

    The files cover the diff without gaps. Anything before the first header counts as a file.
    """

    def __init__(self) -> None:
        self.size = 0
        self._file: _File | None = None
        # The line break before an unfinished line, and the beginning of that line.
        self._rest = b"\n"
        self._rest_offset = 0

    def read(self, chunk: bytes) -> list[DiffFile]:
        """The files that end in this chunk, which may have any size."""
        data, kept = self._rest + chunk, len(self._rest)

        def offset(line_break: int) -> int:
            """Where the line after a line break in `data` begins in the diff."""
            return self.size + line_break + 1 - kept if line_break else self._rest_offset

        ended: list[DiffFile] = []
        end = data.rfind(b"\n")
        before, *files = data[:end].split(_FILE)
        self._continue(before)
        at = len(before)
        for lines in files:
            ended += self._end_file(offset(at))
            self._file = _File(offset(at))
            self._file.read(lines)
            at += len(_FILE) + len(lines)
        self._rest, self._rest_offset = data[end : end + _MOST_LINE_BYTES], offset(end)
        self.size += len(chunk)
        return ended

    def end(self) -> list[DiffFile]:
        """The files that end with the diff."""
        size, unfinished = self.size, len(self._rest) > 1
        ended = self.read(b"\n") if unfinished else []
        self.size = size
        return ended + self._end_file(size)

    def _continue(self, lines: bytes) -> None:
        if lines and self._file is None:
            self._file = _File(0)
        if self._file is not None:
            self._file.read(lines)

    def _end_file(self, offset: int) -> list[DiffFile]:
        return [] if self._file is None else [self._file.ended(offset)]


class _File:
    """What is known of the file that is being read. Each line comes with the line break before it."""

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._header = b""
        self._in_content = self._is_binary = self._is_counted = False
        self._additions = self._deletions = 0

    def read(self, lines: bytes) -> None:
        start = 0
        if not self._in_content:
            lines = self._header + lines
            content = _CONTENT.search(lines)
            start = content.start() if content else len(lines)
            self._header = lines[: min(start, _MOST_HEADER_BYTES)]
            self._in_content = content is not None or len(lines) > _MOST_HEADER_BYTES
            self._is_binary = content is not None and content[0] != b"\n@@ "
            self._is_counted = self._is_binary or self._count_whole(lines, start)
        if not self._is_counted:
            self._additions += lines.count(b"\n+", start)
            self._deletions += lines.count(b"\n-", start)

    def _count_whole(self, lines: bytes, start: int) -> bool:
        """Take the number of lines of a file that is added or deleted from its only hunk. Whether it is one."""
        hunk = _WHOLE.match(lines, start) if b" file mode " in self._header else None
        if hunk is not None:
            self._additions, self._deletions = (
                0 if side == b"0,0" else int(side[2:] or 1) for side in hunk.group(2, 1)
            )
        return hunk is not None

    def ended(self, offset: int) -> DiffFile:
        names, _, _ = self._header.partition(b"\n")
        fields: dict[bytes, bytes] = dict(_FIELD.findall(self._header))
        status = _status(fields)
        path, old_path = _paths(names, fields)
        _, _, mode = fields.get(b"index", b"").partition(b" ")
        old_mode = fields.get(b"deleted file mode") or fields.get(b"old mode") or mode
        new_mode = fields.get(b"new file mode") or fields.get(b"new mode") or mode
        return DiffFile(
            path,
            old_path,
            status,
            self._additions,
            self._deletions,
            self._is_binary,
            old_mode.decode(errors="replace") if old_mode and status != FileStatus.ADDED else None,
            new_mode.decode(errors="replace") if new_mode and status != FileStatus.DELETED else None,
            self._offset,
            offset - self._offset,
        )


def _status(fields: dict[bytes, bytes]) -> FileStatus:
    if b"new file mode" in fields or fields.get(b"---") == b"/dev/null":
        return FileStatus.ADDED
    if b"deleted file mode" in fields or fields.get(b"+++") == b"/dev/null":
        return FileStatus.DELETED
    if b"rename to" in fields:
        return FileStatus.RENAMED
    return FileStatus.COPIED if b"copy to" in fields else FileStatus.MODIFIED


def _paths(names: bytes, fields: dict[bytes, bytes]) -> tuple[str, str | None]:
    """The path, and the old one of a file that was renamed or copied. `names` is the rest of the `diff --git` line."""
    for change in (b"rename", b"copy"):
        if change + b" to" in fields:
            return _text(_unquoted(fields[change + b" to"])), _text(_unquoted(fields.get(change + b" from", b"")))
    for side in (b"+++", b"---"):
        # A tab marks the end of a name with spaces.
        name = fields.get(side, b"/dev/null").removesuffix(b"\t")
        if name != b"/dev/null":
            return _text(_without_prefix(name)), None
    # Otherwise both names are the same, and a space between them is in the middle.
    return _text(_without_prefix(names[len(names) // 2 + 1 :])), None


def _without_prefix(name: bytes) -> bytes:
    """A name without quotes and without its first folder, which is `a` or `b`; git apply ignores it, too."""
    name = _unquoted(name)
    return name.partition(b"/")[2] or name


def _unquoted(name: bytes) -> bytes:
    if not name.startswith(b'"'):
        return name
    return _ESCAPE.sub(lambda found: bytes([_ESCAPES.get(found[1][0]) or int(found[1], 8) & 255]), name[1:-1])


def _text(name: bytes) -> str:
    """A name as text. Where it is not UTF-8 it is quoted as git does it; and also where it begins with a quotation mark,
    so that the two cannot be confused."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = '"'
    return _quoted(name) if text.startswith('"') else text


def _quoted(name: bytes) -> str:
    return '"' + "".join(map(_escaped, name)) + '"'


def _escaped(byte: int) -> str:
    if byte in _LETTERS:
        return f"\\{_LETTERS[byte]}"
    return chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"


def without_binary(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A diff with the line `Binary files differ` instead of each binary patch."""
    data, is_left_out = b"", False
    for chunk in chunks:
        data += chunk
        at, mark = 0, _FILE if is_left_out else _BINARY
        while (found := data.find(mark, at)) >= 0:
            if is_left_out:
                at, mark = found + 1, _BINARY
            else:
                yield data[at:found] + b"\nBinary files differ\n"
                at, mark = found + len(mark), _FILE
            is_left_out = not is_left_out
        # The end of the data may be the beginning of the next mark.
        kept = max(at, len(data) - len(mark) + 1)
        if not is_left_out:
            yield data[at:kept]
        data = data[kept:]
    if not is_left_out:
        yield data
