"""Artifacts in a folder, for one machine or a shared disk."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlencode

from app import keys
from app.artifacts.base import CHUNK, SignedUrl, Stored, StoreUnavailable, begun
from app.errors import Forbidden, TooLarge

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
"""Numbers of the OSError that says that there is no file under a key, as long as the folder itself is there."""
_MARKER = ".agent-runners-store"


class LocalStore:
    """Files below a folder. Signed URLs lead to this product's own `/blobs` route, which calls `verify`.

    A marker in the folder, made by `set_up`, tells it from a mount point on which nothing is mounted: there a file that
    is missing is not gone, and one that was written would be out of sight later.
    """

    def __init__(self, root: Path, public_url: str) -> None:
        self.root = root
        self.base = f"{public_url.rstrip('/')}/api/v1/blobs/"

    def set_up(self) -> None:
        """Make the folder, where there is none yet, and mark it as the store. Raises OSError."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / _MARKER).touch()

    def _check_marker(self) -> None:
        if not os.path.exists(self.root / _MARKER):
            raise StoreUnavailable(
                f"{self.root} is not the store: it is not mounted, or `agent-runners migrate` never ran"
            )

    @contextlib.contextmanager
    def _looked_up(self) -> Iterator[None]:
        """Raise FileNotFoundError where there is no such file in the store, and `StoreUnavailable` for all else."""
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
            raise Forbidden(f"{key!r} is no key of this store")
        return self.root.joinpath(*parts)

    def put(self, key: str, chunks: Iterable[bytes], *, limit: int | None = None) -> int:
        path = self._path(key)
        draft = path.with_name(f".{uuid.uuid4().hex}.draft")
        size = 0
        self._check_marker()
        with _answered():
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(draft, "wb")  # noqa: SIM115
        try:
            # What the chunks raise is no fault of the store.
            for chunk in chunks:
                size += len(chunk)
                if limit is not None and size > limit:
                    raise TooLarge(f"the content is larger than {limit} bytes")
                with _answered():
                    file.write(chunk)
            with _answered():
                file.flush()
                os.fsync(file.fileno())
                os.replace(draft, path)
        finally:
            # Closing writes what a full disk did not take, and fails again.
            with contextlib.suppress(OSError):
                file.close()
            with contextlib.suppress(OSError):
                draft.unlink()
        return size

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        return begun(self._read(key, start))

    def _read(self, key: str, start: int) -> Iterator[bytes]:
        with self._looked_up():
            file = self._path(key).open("rb")
        with file:
            if start:
                with _answered():
                    file.seek(start)
            yield b""
            while chunk := self._next_chunk(file):
                yield chunk

    @staticmethod
    def _next_chunk(file: BinaryIO) -> bytes:
        with _answered():
            return file.read(CHUNK)

    def stat(self, key: str) -> Stored | None:
        try:
            with self._looked_up():
                return _stored(self._path(key))
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterator[tuple[str, datetime.datetime]]:
        # What a process that was killed had begun to store is among them, under a name that nothing refers to.
        self._check_marker()
        for folder, _, names in os.walk(self._path(prefix.rstrip("/")), onerror=_refuse_unread):
            for name in names:
                path = Path(folder, name)
                key = path.relative_to(self.root).as_posix()
                if stored := self.stat(key):
                    yield key, stored.stored_at

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._looked_up():
            self._path(key).unlink()

    def signed_put(self, key: str, content_type: str, *, length: int | None, limit: int, seconds: int) -> SignedUrl:
        terms = {"type": content_type, "limit": str(limit)}
        headers = {"Content-Type": content_type}
        if length is not None:
            terms["length"] = headers["Content-Length"] = str(length)
        return self._signed("PUT", key, terms, headers, seconds)

    def signed_get(self, key: str, *, seconds: int) -> SignedUrl:
        return self._signed("GET", key, {}, {}, seconds)

    def signed_delete(self, key: str, *, seconds: int) -> SignedUrl:
        return self._signed("DELETE", key, {}, {}, seconds)

    def _signed(self, method: str, key: str, terms: dict[str, str], headers: dict[str, str], seconds: int) -> SignedUrl:
        expires = int(time.time()) + seconds
        terms = {**terms, "expires": str(expires)}
        signature = keys.sign(_text_to_sign(method, key, terms))
        url = f"{self.base}{quote(key)}?{urlencode({**terms, 'signature': signature})}"
        return SignedUrl(url, headers, datetime.datetime.fromtimestamp(expires, datetime.UTC))

    def verify(self, method: str, key: str, terms: dict[str, str]) -> dict[str, str]:
        """The terms of a signed URL; raises `Forbidden` unless it was signed for exactly this request and still holds."""
        terms = dict(terms)
        signature = terms.pop("signature", "")
        if not keys.is_signed(_text_to_sign(method, key, terms), signature):
            raise Forbidden(
                "the URL was not signed for this request; send exactly the method and the headers that it came with",
                error_code="bad_signature",
            )
        if int(terms["expires"]) < time.time():
            raise Forbidden("the URL has expired; ask for a new one", error_code="url_expired")
        return terms


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """Raise `StoreUnavailable` for what is wrong with the folder or its disk."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(str(error)) from error


def _refuse_unread(error: OSError) -> None:
    if error.errno not in _MISSING:
        raise StoreUnavailable(str(error)) from error


def _stored(path: Path) -> Stored:
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    return Stored(found.st_size, datetime.datetime.fromtimestamp(found.st_mtime, datetime.UTC))


def _text_to_sign(method: str, key: str, terms: dict[str, str]) -> str:
    return f"{method}\n{key}\n{urlencode(sorted(terms.items()))}"
