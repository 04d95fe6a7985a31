"""Checksums of the blocks of a diff, so that damage is noticed in the part that is read, without reading the rest.

They find what a failing disk, an incomplete copy or a bucket does to bytes (CRC-32), not what somebody does on purpose.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

from app.services.artifacts.sealed import DamagedArtifact

BLOCK = 65_536
_SUM = struct.Struct("<I")


def sums_size(size: int) -> int:
    """How many bytes the checksums of so many bytes have."""
    return -(-size // BLOCK) * _SUM.size


def span(start: int, end: int, size: int) -> tuple[int, int]:
    """The blocks that have the bytes from `start` to before `end`, as offsets in the `size` bytes of the whole."""
    return start // BLOCK * BLOCK, min(-(-end // BLOCK) * BLOCK, size)


class Sums:
    """Makes the checksums of the chunks that are added, which may have any size."""

    def __init__(self) -> None:
        self._ended = bytearray()
        self._sum = self._length = 0

    def add(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            part = view[: BLOCK - self._length]
            self._sum, self._length = zlib.crc32(part, self._sum), self._length + len(part)
            view = view[len(part) :]
            if self._length == BLOCK:
                self._end()

    def finish(self) -> bytes:
        if self._length:
            self._end()
        return bytes(self._ended)

    def _end(self) -> None:
        self._ended += _SUM.pack(self._sum)
        self._sum = self._length = 0


def verified(chunks: Iterable[bytes], sums: bytes) -> Iterator[bytes]:
    """The chunks of whole blocks, regrouped so that each is checked before it is yielded. Raises `DamagedArtifact` where
    they do not have these checksums."""
    expected = iter(sums[at : at + _SUM.size] for at in range(0, len(sums), _SUM.size))
    data = b""
    for chunk in chunks:
        data += chunk
        whole = len(data) - len(data) % BLOCK
        if whole:
            yield _checked(data[:whole], expected)
            data = data[whole:]
    if data:
        yield _checked(data, expected)
    if next(expected, None) is not None:
        raise DamagedArtifact


def _checked(data: bytes, expected: Iterator[bytes]) -> bytes:
    found = Sums()
    found.add(data)
    sums = found.finish()
    if any(sums[at : at + _SUM.size] != next(expected, None) for at in range(0, len(sums), _SUM.size)):
        raise DamagedArtifact
    return data
