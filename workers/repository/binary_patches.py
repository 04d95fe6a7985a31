"""How large the binary files of a patch are. A kilobyte of a patch can become a gigabyte, and git holds all of them in
memory at once, so they are added up before git reads the patch.
"""

from __future__ import annotations

import base64
import mmap
import re
import zlib
from typing import IO

# The lines of text in a patch begin with a sign, so only the parts of a binary file begin like this.
_PART = re.compile(rb"^(literal|delta) ([0-9]{1,19})\n([^\n]{0,100})", re.MULTILINE)
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def binary_bytes(patch: IO[bytes]) -> int:
    """The bytes of all binary files in `patch`, an open file on disk that is not empty: of what it contains for them, and
    of what they become."""
    patch.flush()
    with mmap.mmap(patch.fileno(), 0, access=mmap.ACCESS_READ) as content:
        parts = (part.groups() for part in _PART.finditer(content))
        return sum(int(size) + (_result_bytes(line) if kind == b"delta" else 0) for kind, size, line in parts)


def _result_bytes(line: bytes) -> int:
    """What a delta makes, which its first line says: after the size of the old file, that of the new one.

    0 if the line is damaged. Git refuses that.
    """
    length = _LETTERS.find(line[:1]) + 1
    try:
        data = zlib.decompressobj().decompress(base64.b85decode(line[1:])[:length])
    except (ValueError, zlib.error):
        return 0
    sizes = []
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            sizes.append(value)
            value = shift = 0
    return sizes[1] if len(sizes) > 1 else 0
