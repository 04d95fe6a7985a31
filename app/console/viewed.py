"""Files of a diff that were viewed: a file is known by its part of the diff."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from app.services.artifacts.diff_files import DiffFile
from app.services.artifacts.diffs import StoredDiff

MOST_BYTES = 8 * 2**20
"""Files can be marked where a page of them has at most so many bytes: all of those are read to show the marks."""


def can_mark(files: Sequence[DiffFile]) -> bool:
    return bool(files) and files[-1].offset + files[-1].size - files[0].offset <= MOST_BYTES


def digest_of(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def find_viewed(diff: StoredDiff, files: Sequence[DiffFile], marks: set[str]) -> list[bool]:
    """Which files of a page are marked."""
    if not marks or not can_mark(files):
        return [False] * len(files)
    start = files[0].offset
    page = b"".join(diff.read(start, files[-1].offset + files[-1].size))
    parts = (page[file.offset - start : file.offset - start + file.size] for file in files)
    return [digest_of([part]) in marks for part in parts]
