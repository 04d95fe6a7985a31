"""Keys that end with the size and the SHA-256 of what is stored under them, so that damage is noticed when it is read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

_SEAL = re.compile(r"-(\d+)-([0-9a-f]{64})\.[a-z.]+$")


class DamagedArtifact(Exception):
    """What is stored under a key is not what was stored there."""


def seal(name: str, chunks: Iterable[bytes], suffix: str) -> str:
    """The key for these bytes: `name` with their size and checksum, and `suffix`."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return f"{name}-{size}-{digest.hexdigest()}{suffix}"


def sealed_size(key: str) -> int | None:
    """The size in a key. Earlier releases stored none."""
    found = _SEAL.search(key)
    return int(found[1]) if found else None


def sealed_digest(key: str) -> bytes | None:
    """The SHA-256 in a key. Earlier releases stored none."""
    found = _SEAL.search(key)
    return bytes.fromhex(found[2]) if found else None


def verified(key: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks of a whole object, unchanged. After the last one it raises `DamagedArtifact` if they are not what was
    stored, as they are on a failing disk or in an incomplete backup. Earlier releases stored no checksums."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if (found := _SEAL.search(key)) and (size, digest.hexdigest()) != (int(found[1]), found[2]):
        raise DamagedArtifact
