"""The index of a stored diff: its files, so that a page of them is read without reading the whole diff, and checksums, so that
damage to that part is noticed.

An index is an object of its own, under the key of its diff in the folder `FOLDER`. It consists of a header, checksums of
the blocks of the diff, a table that says for each file where it begins in the diff and where its record begins in the index,
and the records. A part of it is
read with at most one request to the store, and usually none, because most indexes are shorter than `_HEAD_BYTES`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator

import structlog

from app import artifacts
from app.services.artifacts import blocks, sealed
from app.services.artifacts.diff_files import DiffFile, DiffReader

FOLDER = "diff-indexes"
log = structlog.get_logger()

_MAGIC = b"arindex2"
"""Begins every index. Another format needs another one; indexes with an unknown beginning are made again."""
_WITHOUT_SUMS = b"arindex1"
"""Begins the indexes of earlier releases, which have no checksums."""
_HEADER = struct.Struct("<8sQQ")
"""The magic, the number of files, and the size of the diff in bytes."""
_ROW = struct.Struct("<QQ")
"""A row of the table: where a file begins in the diff, and its record among the records. The last row holds both ends."""
_HEAD_BYTES = 65_536


def key_of(diff_key: str) -> str:
    """The key of a diff's index."""
    return f"{FOLDER}/{diff_key}"


def diff_key_of(key: str) -> str:
    """The key of the diff that an index belongs to. Any other key is returned as it is."""
    return key.removeprefix(f"{FOLDER}/")


class Builder:
    """Makes the index of a diff while its chunks pass through. Memory grows with the number of files only."""

    def __init__(self) -> None:
        self._reader = DiffReader()
        self._sums = blocks.Sums()
        self._table = bytearray()
        self._records = bytearray()

    def watch(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks, unchanged."""
        for chunk in chunks:
            self._add(self._reader.read(chunk))
            self._sums.add(chunk)
            yield chunk

    def finish(self) -> bytes:
        """The index, after all chunks have passed."""
        self._add(self._reader.end())
        header = _HEADER.pack(_MAGIC, len(self._table) // _ROW.size, self._reader.size)
        ends = _ROW.pack(self._reader.size, len(self._records))
        return b"".join((header, self._sums.finish(), self._table, ends, self._records))

    def _add(self, files: list[DiffFile]) -> None:
        for file in files:
            self._table += _ROW.pack(file.offset, len(self._records))
            self._records += json.dumps(file).encode() + b"\n"


class Index:
    """Reads an index, of which `head` is the beginning or all. Files have numbers, from 0."""

    def __init__(self, key: str, head: bytes) -> None:
        self._key, self._head = key, head
        magic, self.files, self.size = _HEADER.unpack_from(head)
        self._has_sums = magic == _MAGIC
        self._table = _HEADER.size + (blocks.sums_size(self.size) if self._has_sums else 0)

    def span(self, first: int, end: int) -> tuple[int, int]:
        """The part of the diff, as offsets of its start and end, that has the files from `first` to before `end`."""
        (start, _), (stop, _) = self._ends(first, end)
        return start, stop

    def verified(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes of the diff from `start` to before `end`, in chunks. Raises `DamagedArtifact` before a chunk that is not
        what was stored, and `FileNotFoundError` at once if the diff is missing."""
        if not self._has_sums:
            return artifacts.store().read(diff_key_of(self._key), start, end)
        first, last = blocks.span(start, end, self.size)
        sums = self._part(*(_HEADER.size + blocks.sums_size(each) for each in (first, last)))
        chunks = artifacts.store().read(diff_key_of(self._key), first, last)
        return _cut(blocks.verified(chunks, sums), start - first, end - first)

    def read(self, first: int, end: int) -> list[DiffFile]:
        """The files from `first` to before `end`."""
        (_, start), (_, stop) = self._ends(first, end)
        records = self._table + (self.files + 1) * _ROW.size
        lines = self._part(records + start, records + stop).splitlines()
        return [DiffFile(*json.loads(line)) for line in lines]

    def _ends(self, first: int, end: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """The rows of the table at `first` and `end`. Beyond the last file, both are its last row."""
        first, end = min(first, self.files), min(end, self.files)
        table = self._part(self._table + first * _ROW.size, self._table + (end + 1) * _ROW.size)
        return _ROW.unpack_from(table), _ROW.unpack_from(table, len(table) - _ROW.size)

    def _part(self, start: int, end: int) -> bytes:
        # An empty part cannot be requested.
        if end <= len(self._head) or start == end:
            return self._head[start:end]
        return b"".join(artifacts.store().read(self._key, start, end))


def _cut(chunks: Iterable[bytes], start: int, end: int) -> Iterator[bytes]:
    """The bytes of the chunks from `start` to before `end`."""
    at = 0
    for chunk in chunks:
        yield chunk[max(start - at, 0) : end - at]
        at += len(chunk)


def store(diff_key: str, index: bytes) -> None:
    """Store the index of a diff. A failure is only logged, because `find_or_make` makes a missing index."""
    try:
        artifacts.store().put(key_of(diff_key), [index])
    except artifacts.StoreUnavailable as error:
        log.warning("diff_index_not_stored", key=diff_key, error=str(error))


def find_or_make(diff_key: str) -> Index:
    """The index of a stored diff. Where there is none, the diff is read once, and its index stored.

    Raises `FileNotFoundError` if there is no diff either, and `DamagedArtifact` if it is damaged.
    """
    key = key_of(diff_key)
    try:
        head = b"".join(artifacts.store().read(key, 0, _HEAD_BYTES))
    except FileNotFoundError:
        head = b""
    if not head.startswith((_MAGIC, _WITHOUT_SUMS)):
        head = _make(diff_key)
        store(diff_key, head)
    return Index(key, head)


def _make(diff_key: str) -> bytes:
    builder = Builder()
    for _ in builder.watch(sealed.verified(diff_key, artifacts.store().read(diff_key))):
        pass
    return builder.finish()
