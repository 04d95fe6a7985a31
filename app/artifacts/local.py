"""Artifacts in a folder, on one machine or a shared disk."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import stat
import sys
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from app.artifacts.base import CHUNK, Stored, StoreUnavailable, started
from app.artifacts.signed_urls import OwnUrls, SignedUrl
from app.errors import Forbidden, TooLarge

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
"""The `errno` values that mean that there is no file under a key, provided that the folder itself exists."""
_MARKER = ".agent-runners-store"


class LocalStore:
    """Files below a folder, which only the user of our processes may read. Signed URLs lead to the API's own `/blobs` route.

    `set_up` creates a marker file in the folder. Without it, the folder may be a mount point whose disk is not mounted:
    files would seem to be missing, and new files would be hidden by a later mount.
    """

    def __init__(self, root: Path, public_url: str) -> None:
        self.root = root
        self.urls = OwnUrls(public_url)

    def set_up(self) -> None:
        """Create the folder if needed, and mark it as the store. Raises OSError."""
        _make_private(self.root)
        (self.root / _MARKER).touch(mode=0o600)

    def _check_marker(self) -> None:
        if not os.path.exists(self.root / _MARKER):
            raise StoreUnavailable(
                f"{self.root} is not set up as the artifact store. Mount its disk, or run `agent-runners migrate`."
            )

    @contextlib.contextmanager
    def _access(self) -> Iterator[None]:
        """Raise FileNotFoundError if the file does not exist, and `StoreUnavailable` for any other OSError."""
        try:
            yield
        except OSError as error:
            if error.errno not in _MISSING:
                raise StoreUnavailable(str(error)) from error
            self._check_marker()
            raise FileNotFoundError(str(error)) from error

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise Forbidden(f"{key!r} is not a key of the artifact store. Use a key exactly as the API returned it.")
        return self.root.joinpath(*parts)

    def put(self, key: str, chunks: Iterable[bytes], *, limit: int | None = None) -> int:
        path = self._path(key)
        draft = path.with_name(f".{uuid.uuid4().hex}.draft")
        size = 0
        self._check_marker()
        with _unavailable_on_error():
            _make_private(path.parent)
            file = open(draft, "wb", opener=_open_private)  # noqa: SIM115
        try:
            # Errors that the chunks raise are not errors of the store.
            for chunk in chunks:
                size += len(chunk)
                if limit is not None and size > limit:
                    raise TooLarge(f"The content has more than {limit} bytes, which is the limit. Send less.")
                with _unavailable_on_error():
                    file.write(chunk)
            with _unavailable_on_error():
                file.flush()
                os.fsync(file.fileno())
                os.replace(draft, path)
        finally:
            # On a full disk, closing tries to write the rest again, and fails.
            with contextlib.suppress(OSError):
                file.close()
            with contextlib.suppress(OSError):
                draft.unlink()
        return size

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        return started(self._read(key, start, sys.maxsize if end is None else end))

    def _read(self, key: str, position: int, end: int) -> Iterator[bytes]:
        with self.open(key) as file:
            if position:
                with _unavailable_on_error():
                    file.seek(position)
            yield b""
            while chunk := self._next_chunk(file, end - position):
                position += len(chunk)
                yield chunk

    def open(self, key: str) -> BinaryIO:
        """The file under `key`. Raises as `read` does."""
        with self._access():
            return self._path(key).open("rb", buffering=0)

    @staticmethod
    def _next_chunk(file: BinaryIO, most: int) -> bytes:
        with _unavailable_on_error():
            return file.read(min(CHUNK, most))

    def stat(self, key: str) -> Stored | None:
        try:
            with self._access():
                return _stored(self._path(key))
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        # The list includes drafts of killed processes, under names that nothing refers to.
        self._check_marker()
        for folder, _, names in os.walk(self._path(prefix.rstrip("/")), onerror=_raise_unless_missing):
            for name in names:
                path = Path(folder, name)
                key = path.relative_to(self.root).as_posix()
                if stored := self.stat(key):
                    yield key, stored

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._access():
            self._path(key).unlink()

    def signed_put(self, key: str, content_type: str, *, length: int | None, limit: int, seconds: int) -> SignedUrl:
        return self.urls.put(key, content_type, length=length, limit=limit, seconds=seconds)

    def signed_get(self, key: str, *, seconds: int) -> SignedUrl:
        return self.urls.get(key, seconds=seconds)

    def signed_delete(self, key: str, *, seconds: int) -> SignedUrl:
        return self.urls.delete(key, seconds=seconds)


def _make_private(folder: Path) -> None:
    """Create a folder and the missing ones above it. `mkdir` would create those above with the umask's permissions."""
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


@contextlib.contextmanager
def _unavailable_on_error() -> Iterator[None]:
    """Raise `StoreUnavailable` for an OSError of the folder or its disk."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(str(error)) from error


def _raise_unless_missing(error: OSError) -> None:
    if error.errno not in _MISSING:
        raise StoreUnavailable(str(error)) from error


def _stored(path: Path) -> Stored:
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    return Stored(found.st_size, datetime.datetime.fromtimestamp(found.st_mtime, datetime.UTC))
