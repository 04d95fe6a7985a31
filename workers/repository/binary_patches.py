"""How large the binary files of a patch are. A kilobyte of a patch can become a gigabyte, and git holds all of them in
memory at once, so they are added up before git reads the patch.
"""

from __future__ import annotations

import base64
import re
import zlib
from typing import IO

_START = re.compile(rb"(literal|delta) ([0-9]{1,19})\n")
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PIECE_BYTES = 65_536


def binary_bytes(patch: IO[bytes]) -> int:
    """The bytes of all binary files in `patch`, an open file: of what it contains for them, and of what they become."""
    patch.seek(0)
    total = 0
    in_binary, at_start = False, True
    while line := patch.readline(_PIECE_BYTES):
        if at_start:
            if line == b"GIT binary patch\n":
                in_binary = True
            elif in_binary and (start := _START.fullmatch(line)):
                total += int(start[2])
                if start[1] == b"delta":
                    line = patch.readline(_PIECE_BYTES)
                    total += _result_bytes(line)
            elif line.startswith(b"diff --git "):
                in_binary = False
        at_start = line.endswith(b"\n")
    return total


def _result_bytes(line: bytes) -> int:
    """What a delta makes, which its first line says: after the size of the old file, that of the new one.

    0 if the line is damaged. Git refuses that.
    """
    length = _LETTERS.find(line[:1]) + 1
    try:
        data = zlib.decompressobj().decompress(base64.b85decode(line[1:].rstrip(b"\n"))[:length])
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
