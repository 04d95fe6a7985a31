"""Pointers of Git LFS, which are in a repository in the place of large files.

https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import closing
from typing import NamedTuple

from workers.repository.objects import Objects

_VERSION = b"version https://git-lfs.github.com/spec/v1\n"
_POINTER = re.compile(re.escape(_VERSION) + rb"oid sha256:([0-9a-f]{64})\nsize (0|[1-9][0-9]{0,17})\n")
# A pointer may have further lines for extensions, which hardly anybody uses. Other files of this size are few.
_POINTER_BYTES = range(120, 200)
_LARGEST = 1024


class Pointer(NamedTuple):
    """What a pointer says of an object: the SHA-256 of its content in hexadecimal, and its size in bytes."""

    oid: str
    size: int

    @property
    def text(self) -> bytes:
        """The pointer as Git LFS writes it."""
        return _VERSION + f"oid sha256:{self.oid}\nsize {self.size}\n".encode()


def parse(data: bytes) -> Pointer | None:
    """The pointer that a file consists of. None: it is another file, or a pointer that needs an extension."""
    found = _POINTER.fullmatch(data)
    return Pointer(found[1].decode(), int(found[2])) if found else None


def find_pointers(objects: Objects, ids: Iterable[bytes]) -> dict[bytes, Pointer]:
    """The pointers among the objects of a git directory, by their ids. Raises what `Objects` does."""
    found = {each: parse(data) for each, data in _small(objects, ids, _POINTER_BYTES).items()}
    return {each: pointer for each, pointer in found.items() if pointer}


def find_written_as_pointers(objects: Objects, ids: Iterable[bytes]) -> set[bytes]:
    """The objects that are meant to be pointers, damaged ones and those with marks of a conflict included."""
    return {each for each, data in _small(objects, ids, range(_LARGEST)).items() if data.startswith(_VERSION)}


def _small(objects: Objects, ids: Iterable[bytes], sizes: range) -> dict[bytes, bytes]:
    """The content of the objects that have one of these sizes."""
    unique = list(dict.fromkeys(ids))
    content = {each: b"" for each, size in zip(unique, objects.sizes(unique), strict=True) if size in sizes}
    if content:
        with closing(objects.contents(list(content))) as pieces:
            for each, piece in pieces:
                content[each] += piece
    # The first piece of an object is a line with its type and size.
    return {each: data.partition(b"\n")[2] for each, data in content.items()}
