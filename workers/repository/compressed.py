"""What compressed files hold: the members of gzip, bzip2, xz and zip files, wherever they begin, and files of zlib.

Nothing is written and little is kept: content is read in pieces as it streams by. How much is decompressed is limited,
because a few bytes may expand to gigabytes.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

# Where a member begins (RFC 1952; APPNOTE.TXT of zip, 4.3.7: signature, version, flags, the method "deflate"). Those that zip
# has by its methods "bzip2" and "xz" begin as they do elsewhere.
_BZIP2, _XZ = b"BZh", b"\xfd7zXZ\0"
_MEMBER = re.compile(rb"\x1f\x8b\x08|BZh[1-9]1AY&SY|\xfd7zXZ\x00|PK\x03\x04.{4}\x08\x00", re.DOTALL)
# What each of them has, and a byte of it that text does not have: single bytes are found much faster.
_PARTS = ((b"\x1f", b"\x1f\x8b\x08"), (b"\xfd", _XZ), (b"\x03", b"PK\x03\x04"), (b"", b"1AY&SY"))
# Zlib has no distinctive mark, so it is recognized at the start of a file only (RFC 1950).
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
LONGEST_MARK = 10
_ZIP_HEADER = 30
_PIECE = 1 << 18
# A file of xz says how much memory it needs. Those that `xz -9` makes need this much.
_MOST_MEMORY = 68 * 1024**2
# How much longer than zlib they take for a byte.
_WEIGHTS = {bz2.BZ2Decompressor: 4, lzma.LZMADecompressor: 2}


@dataclass
class Budget:
    """How much may still be decompressed: members, and bytes read and written."""

    members: int = 10_000
    size: int = 1 << 28


def has_mark(part: bytes) -> bool:
    """Whether a member may begin in this part of a file."""
    # Most files have none of these, and finding that out is quick.
    may_have_member = any(byte in part and mark in part for byte, mark in _PARTS)
    return bool(_ZLIB.match(part) or (may_have_member and _MEMBER.search(part)))


def decompressed(content: Iterable[bytes], budget: Budget) -> Iterator[bytes]:
    """What the members in the content of a file hold, each followed by a NUL. Ends early if the budget is used up."""
    data, mark = b"", _ZLIB
    # zlib's types have no public names.
    member: Any = None
    for chunk in content:
        data += chunk
        while budget.size > 0:
            if member is None:
                if len(data) < 2:
                    break
                member, data = _next_member(data, at_start=mark is _ZLIB)
                mark = _MEMBER
                if member is None:
                    break
                budget.members -= 1
                if budget.members < 0:
                    return
            try:
                piece = member.decompress(data, _PIECE)
            except (zlib.error, OSError, lzma.LZMAError, MemoryError):
                budget.size -= len(data)
                member = None
                continue
            # Those of bzip2 and xz keep by themselves what they have not read.
            left = member.unused_data or getattr(member, "unconsumed_tail", b"")
            budget.size -= (len(data) - len(left) + len(piece)) * _WEIGHTS.get(type(member), 1)
            data = left
            yield piece
            if member.eof:
                member = None
                yield b"\0"
            elif not data and len(piece) < _PIECE and getattr(member, "needs_input", True):
                break


def _next_member(data: bytes, *, at_start: bool) -> tuple[Any, bytes]:
    """A decompressor for the first member that begins in `data`, and what it is to read next. None if none begins, and
    the end of `data` that is to be looked at again with what follows it."""
    if at_start and (found := _ZLIB.match(data)):
        return _started(zlib.MAX_WBITS, found[0]), data[found.end() :]
    if (found := _MEMBER.search(data)) is None:
        return None, data[1 - LONGEST_MARK :]
    if found[0].startswith(b"\x1f"):
        return _started(zlib.MAX_WBITS | 16, found[0]), data[found.end() :]
    if found[0].startswith(_BZIP2):
        return bz2.BZ2Decompressor(), data[found.start() :]
    if found[0] == _XZ:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY), data[found.start() :]
    header = data[found.start() :]
    if len(header) < _ZIP_HEADER:
        return None, header
    # The lengths of the name and of the extra field, which are between header and data.
    behind = _ZIP_HEADER + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    if len(header) < behind:
        return None, header
    return zlib.decompressobj(-zlib.MAX_WBITS), header[behind:]


def _started(format: int, mark: bytes) -> Any:
    decompressor = zlib.decompressobj(format)
    decompressor.decompress(mark)
    return decompressor
