"""Objects of Git LFS that are on this host, for the next sessions of their site.

    lfs/<site_id>/<oid>

The objects of a site are its own: who names the object of another site in a pointer does not get it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from workers.job import Host
from workers.lfs.pointers import Pointer
from workers.repository.plain_name import plain_name

FOLDER = "lfs"
_KEPT_SECONDS, _KEPT_BYTES = 7 * 86_400.0, 20 * 1024**3
_CHUNK = 1 << 20


class Mismatch(Exception):
    """Content is not what a pointer says."""


class Writer:
    """Writes the content of an object to a file. Raises `Mismatch` as soon as it is more than the pointer says."""

    def __init__(self, file: IO[bytes], pointer: Pointer) -> None:
        self._file, self._pointer = file, pointer
        self._digest, self.size = hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._pointer.size:
            raise Mismatch
        self._digest.update(data)
        self._file.write(data)

    def begin_anew(self) -> None:
        """Forget what was written."""
        self._file.seek(0)
        self._file.truncate()
        self._digest, self.size = hashlib.sha256(), 0

    def finish(self) -> None:
        """Raise `Mismatch` if the content is not that of the pointer."""
        if (self._digest.hexdigest(), self.size) != self._pointer:
            raise Mismatch


class Cache:
    """The objects of one site."""

    def __init__(self, host: Host, site_id: str) -> None:
        self._folder = host.work_dir / FOLDER / plain_name(site_id)

    def find(self, pointer: Pointer) -> Path | None:
        """The file with the object, if it is here and has the size that the pointer says."""
        path = self._folder / pointer.oid
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size == pointer.size:
                os.utime(path)
                return path
        return None

    @contextlib.contextmanager
    def adding(self, pointer: Pointer) -> Iterator[Writer]:
        """Add the object when the context ends without an error. Raises `Mismatch` then if the content is another one."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix="new-", delete=False) as file:
            try:
                writer = Writer(file, pointer)
                yield writer
                writer.finish()
                file.flush()
                os.rename(file.name, self._folder / pointer.oid)
            except BaseException:
                os.unlink(file.name)
                raise

    def keep(self, oid: str, file: Path) -> None:
        """Add a verified file, which stays where it is, and is not changed any more. Does nothing if it cannot."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.link(file, self._folder / oid)

    def copy(self, pointer: Pointer, to: Path) -> bool:
        """Copy an object to a new file. False, and no file: it is not here, or damaged, and then it is removed.

        A pointer with another size removes nothing: it may be wrong, and others need the object.
        """
        source = self.find(pointer)
        if source is None:
            return False
        try:
            with open(source, "rb") as content, open(to, "xb") as file:
                writer = Writer(file, pointer)
                while data := content.read(_CHUNK):
                    writer.write(data)
                writer.finish()
            return True
        except FileNotFoundError:
            return False
        except Mismatch:
            source.unlink(missing_ok=True)
        to.unlink(missing_ok=True)
        return False


def evict_objects(host: Host) -> None:
    """Remove the objects that were not used for a week, and the oldest ones if they take up too much disk space."""
    found = []
    for path in (host.work_dir / FOLDER).glob("*/*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    total = 0
    for used_at, size, path in sorted(found, reverse=True):
        total += size
        if time.time() - used_at > _KEPT_SECONDS or total > _KEPT_BYTES:
            path.unlink(missing_ok=True)
