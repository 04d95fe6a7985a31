"""Pictures in a diff, before and after: those that it contains whole."""

from __future__ import annotations

import base64
import re
import zlib

MOST_PATCH_BYTES = 4 * 2**20
MOST_BYTES = 8 * 2**20
SIDES = ("after", "before")
"""The order in which git writes them: the content after the change, and what it was, to apply the diff in reverse."""
_TYPES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)
_CONTENT = re.compile(rb"^(literal|delta) [0-9]{1,19}\n((?:[A-Za-z][!-~]+\n)+)", re.MULTILINE)
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def find(patch: bytes) -> dict[str, tuple[str, bytes]]:
    """The type and content of the pictures in one file's patch, by side. A side that is written as a difference to the
    other one is left out, as is what is damaged, large or of another type."""
    found = {}
    for side, content in zip(SIDES, _CONTENT.finditer(patch), strict=False):
        data = _inflated(content[2].splitlines()) if content[1] == b"literal" else b""
        if kind := next((kind for start, kind in _TYPES if data.startswith(start)), None):
            found[side] = kind, data
    return found


def _inflated(lines: list[bytes]) -> bytes:
    """The content of a binary file; empty if it is damaged or too large."""
    try:
        packed = b"".join(base64.b85decode(line[1:])[: _LETTERS.index(line[:1]) + 1] for line in lines)
        inflate = zlib.decompressobj()
        data = inflate.decompress(packed, MOST_BYTES)
    except (ValueError, zlib.error):
        return b""
    return data if inflate.eof else b""
