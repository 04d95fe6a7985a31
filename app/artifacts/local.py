"""Artifacts in a folder, for one machine or a shared disk."""

from __future__ import annotations

import contextlib
import datetime
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

from app import secrets
from app.artifacts.base import CHUNK, SignedUrl, Stored
from app.errors import Forbidden, TooLarge


class LocalStore:
    """Files below a folder. Signed URLs lead to this product's own `/blobs` route, which calls `verify`."""

    def __init__(self, root: Path, public_url: str) -> None:
        self.root = root
        self.base = f"{public_url.rstrip('/')}/api/v1/blobs/"

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise Forbidden(f"{key!r} is no key of this store")
        return self.root.joinpath(*parts)

    def put(self, key: str, chunks: Iterable[bytes], *, limit: int | None = None) -> int:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{uuid.uuid4().hex}.draft")
        size = 0
        try:
            with open(draft, "wb") as file:
                for chunk in chunks:
                    size += len(chunk)
                    if limit is not None and size > limit:
                        raise TooLarge(f"the content is larger than {limit} bytes")
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        return size

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        file = self._path(key).open("rb")
        if start:
            file.seek(start)

        def chunks() -> Iterator[bytes]:
            with file:
                while chunk := file.read(CHUNK):
                    yield chunk

        return chunks()

    def stat(self, key: str) -> Stored | None:
        try:
            return _stored(self._path(key))
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterator[tuple[str, datetime.datetime]]:
        # What a process that was killed had begun to store is among them, under a name that nothing refers to.
        for folder, _, names in os.walk(self._path(prefix.rstrip("/"))):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    yield path.relative_to(self.root).as_posix(), _stored(path).stored_at

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

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
        signature = secrets.sign(_text_to_sign(method, key, terms))
        url = f"{self.base}{quote(key)}?{urlencode({**terms, 'signature': signature})}"
        return SignedUrl(url, headers, datetime.datetime.fromtimestamp(expires, datetime.UTC))

    def verify(self, method: str, key: str, terms: dict[str, str]) -> dict[str, str]:
        """The terms of a signed URL; raises `Forbidden` unless it was signed for exactly this request and still holds."""
        terms = dict(terms)
        signature = terms.pop("signature", "")
        if not secrets.is_signed(_text_to_sign(method, key, terms), signature):
            raise Forbidden("the URL was not signed for this request", error_code="bad_signature")
        if int(terms["expires"]) < time.time():
            raise Forbidden("the URL has expired", error_code="url_expired")
        return terms


def _stored(path: Path) -> Stored:
    found = path.stat()
    return Stored(found.st_size, datetime.datetime.fromtimestamp(found.st_mtime, datetime.UTC))


def _text_to_sign(method: str, key: str, terms: dict[str, str]) -> str:
    return f"{method}\n{key}\n{urlencode(sorted(terms.items()))}"
