"""Writes and reads small index files of git, so that a few paths need neither a process nor the index of all files.

The format is that of gitformat-index(5), version 2.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path

from workers.repository.objects import Entry

_HEADER = struct.Struct(">4sLL")
# Ten numbers about the file, its object and the length of its path.
_ENTRY = struct.Struct(">10L20sH")
_MODE = 6
_LONGEST, _EXTENDED = 0xFFF, 0x4000
_ALIGNMENT = 8


def write_index(file: Path, entries: Mapping[bytes, Entry]) -> None:
    """Write an index with these files. Git knows nothing of the state on disk, so it will read the files."""
    data = bytearray(_HEADER.pack(b"DIRC", 2, len(entries)))
    for path, entry in sorted(entries.items()):
        numbers = [0] * 10
        numbers[_MODE] = int(entry.mode, 8)
        record = _ENTRY.pack(*numbers, bytes.fromhex(entry.id.decode()), min(len(path), _LONGEST)) + path
        data += record + bytes(_ALIGNMENT - len(record) % _ALIGNMENT)
    file.write_bytes(data + hashlib.sha1(data, usedforsecurity=False).digest())


def read_index(file: Path) -> dict[bytes, Entry]:
    """The files in an index that git wrote; empty if there is none. Raises ValueError for another version."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return {}
    signature, version, count = _HEADER.unpack_from(data)
    if signature != b"DIRC" or version not in (2, 3):
        raise ValueError(f"{file} is not an index of version 2 or 3")
    found: dict[bytes, Entry] = {}
    place = _HEADER.size
    for _ in range(count):
        *numbers, name, flags = _ENTRY.unpack_from(data, place)
        start = place + _ENTRY.size + (2 if flags & _EXTENDED else 0)
        end = data.index(b"\0", start)
        found[data[start:end]] = Entry(b"%06o" % numbers[_MODE], name.hex().encode())
        place = end + _ALIGNMENT - (end - place) % _ALIGNMENT
    return found
