"""Writes and reads small index files of git, so that a few paths need neither a process nor the index of all files.

The format is that of gitformat-index(5), version 2.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from workers.repository.object_format import ID_LENGTHS
from workers.repository.objects import Entry

_HEADER = struct.Struct(">4sLL")
# The file's state in ten numbers, its object and the length of its path.
_ENTRIES = {name: struct.Struct(f">40s{length // 2}sH") for name, length in ID_LENGTHS.items()}
# The times of its last changes in seconds and nanoseconds, device, inode, mode, user, group and size.
_STATE = struct.Struct(">10L")
_MODE, _MODE_BYTES = 6, slice(24, 28)
_LONGEST, _EXTENDED = 0xFFF, 0x4000
_STAGE, _SKIP_WORKTREE = 0x3000, 0x4000
_ALIGNMENT = 8
# The name of an extension and its length. Who does not know one that begins with a small letter must not use the index.
_EXTENSION = struct.Struct(">4sL")


def write_index(file: Path, entries: Mapping[bytes, Entry], object_format: str) -> None:
    """Write an index with these files, for a repository of that format. Git knows nothing of the state on disk, so it will read the files."""
    data, packed = bytearray(_HEADER.pack(b"DIRC", 2, len(entries))), _ENTRIES[object_format]
    for path, entry in sorted(entries.items()):
        numbers = [0] * 10
        numbers[_MODE] = int(entry.mode, 8)
        id = bytes.fromhex(entry.id.decode())
        record = packed.pack(_STATE.pack(*numbers), id, min(len(path), _LONGEST)) + path
        data += record + bytes(_ALIGNMENT - len(record) % _ALIGNMENT)
    file.write_bytes(data + _checksum(data, object_format))


def read_index(file: Path, object_format: str) -> dict[bytes, Entry]:
    """The files in an index that git wrote; empty if there is none. Raises ValueError for one that is damaged, has conflicts or
    is of another kind, or belongs to a repository of another format."""
    return {
        path: Entry(b"%06o" % record.mode, record.object.hex().encode())
        for path, record in read_records(file, object_format).items()
    }


def read_records(file: Path, object_format: str) -> dict[bytes, Record]:
    """As `read_index`, with the state of each file on disk when git last looked at it."""
    with suppress(FileNotFoundError):
        return records_of(file.read_bytes(), object_format)
    return {}


def records_of(data: bytes, object_format: str) -> dict[bytes, Record]:
    """As `read_records`, for the content of an index that anybody may have written."""
    return {path: record for _, path, record in _entries(data, object_format)}


def set_states(file: Path, records: Mapping[bytes, Record], object_format: str) -> None:
    """Let git take files for unchanged whose state on disk is that of a record. Entries with another object stay as they are.

    The time of the index stays too. Raises ValueError as `read_index` does, and OSError.
    """
    data, status = bytearray(file.read_bytes()), file.stat()
    for place, path, record in _entries(bytes(data), object_format):
        known = records.get(path)
        if known and known.is_same_file(record):
            data[place : place + _STATE.size] = known.state
    content = data[: -ID_LENGTHS[object_format] // 2]
    new = file.with_name(f"{file.name}.new")
    new.write_bytes(content + _checksum(content, object_format))
    os.chmod(new, stat.S_IMODE(status.st_mode))
    if os.geteuid() == 0:
        os.chown(new, status.st_uid, status.st_gid)
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(file)


class Record(NamedTuple):
    """What an index says of a file: ten numbers about its state on disk, its object, and whether it was checked out."""

    state: bytes
    object: bytes
    is_left_out: bool = False
    """Whether a sparse checkout leaves it out."""

    @property
    def mode(self) -> int:
        return _STATE.unpack(self.state)[_MODE]

    def is_same_file(self, other: Record) -> bool:
        """Whether the content and the mode are the same."""
        return self.object == other.object and self.state[_MODE_BYTES] == other.state[_MODE_BYTES]

    def is_state(self, status: os.stat_result) -> bool:
        """Whether the file on disk has not changed, to the nanosecond. Git compares seconds on many systems.

        False where the file system keeps whole seconds: a file may change twice in one.
        """
        return status.st_ctime_ns % 10**9 != 0 and self.state == state_of(status)


NO_RECORD = Record(bytes(_STATE.size), b"")
"""What an index says of a file that it does not have."""


def state_of(status: os.stat_result) -> bytes:
    """The ten numbers for a file or link on disk."""
    changed, written = (divmod(time, 10**9) for time in (status.st_ctime_ns, status.st_mtime_ns))
    file_mode = 0o100755 if status.st_mode & stat.S_IXUSR else 0o100644
    mode = 0o120000 if stat.S_ISLNK(status.st_mode) else file_mode
    numbers = (status.st_dev, status.st_ino, mode, status.st_uid, status.st_gid, status.st_size)
    return _STATE.pack(*(number & 0xFFFFFFFF for number in (*changed, *written, *numbers)))


def _entries(data: bytes, object_format: str) -> Iterator[tuple[int, bytes, Record]]:
    """The place, the path and the record of each entry."""
    packed = _ENTRIES[object_format]
    end = len(data) - ID_LENGTHS[object_format] // 2
    if end < _HEADER.size or data[end:] != _checksum(data[:end], object_format):
        raise ValueError("the index is damaged")
    signature, version, count = _HEADER.unpack_from(data)
    if signature != b"DIRC" or version not in (2, 3):
        raise ValueError("it is not an index of version 2 or 3")
    place = _HEADER.size
    for _ in range(count):
        if place + packed.size > end:
            raise ValueError("the index lacks entries")
        state, name, flags = packed.unpack_from(data, place)
        start = place + packed.size
        more = 0
        if flags & _STAGE:
            raise ValueError("the index has conflicts")
        if flags & _EXTENDED:
            more, start = int.from_bytes(data[start : start + 2], "big"), start + 2
        stop = data.index(b"\0", start, end)
        yield place, data[start:stop], Record(state, name, bool(more & _SKIP_WORKTREE))
        place = stop + _ALIGNMENT - (stop - place) % _ALIGNMENT
    while place < end:
        extension, length = _EXTENSION.unpack(data[place : place + _EXTENSION.size].ljust(_EXTENSION.size, b"\0"))
        if not extension[:1].isupper():
            raise ValueError("the index has parts elsewhere, or folders")
        place += _EXTENSION.size + length
    if place != end:
        raise ValueError("the index ends too early")


def _checksum(data: bytes | bytearray, object_format: str) -> bytes:
    return hashlib.new(object_format, data, usedforsecurity=False).digest()
