"""Files that callers upload for agents: signed URLs to upload and delete them, and which files a caller may use."""

from __future__ import annotations

import contextlib
import re
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from app import artifacts, db
from app.artifacts import SignedUrl, Stored
from app.errors import BadRequest, Conflict, Forbidden, NotFound, TooLarge, invalid
from app.models import SessionFile
from app.models.states import Scope
from app.services.accounts import storage
from app.services.artifacts import references
from app.services.callers import Caller

MOST_BYTES = 10 * 1024 * 1024
MOST_FILES = 20
SECONDS = 14 * 60
PREFIX = "user-uploaded-content"
Uploaded = dict[str, Stored]
"""What is stored of uploaded files, by key."""

_NAME = re.compile(r"[^/\\\x00-\x1f\x7f]{1,200}")
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}(; ?charset=[A-Za-z0-9_-]{1,40})?")


def upload_url(caller: Caller, fields: dict[str, Any]) -> tuple[str, SignedUrl]:
    """A new key and a URL to upload the file under it. `size` in bytes is signed if it is given."""
    caller.require(Scope.WRITE)
    if fields.get("account_id") not in (None, caller.account_id):
        message = "account_id: is not the id of your account; leave it out"
        raise NotFound(message, error_code="account_not_found")
    # Some systems write an umlaut as two characters. Names are normalized, so that each has one spelling.
    name = unicodedata.normalize("NFC", fields["filename"])
    content_type, size = fields["content_type"], fields.get("size")
    if not _NAME.fullmatch(name) or name in (".", "..") or len(name.encode()) > 255:
        message = "must be a file name of at most 200 characters and 255 bytes, without slashes and control characters"
        raise invalid("filename", message, error_code="bad_filename")
    if not _TYPE.fullmatch(content_type):
        raise invalid("content_type", "must be a media type, such as image/png", error_code="bad_content_type")
    if size is not None and not 0 <= size <= MOST_BYTES:
        raise invalid("size", f"must be from 0 to {MOST_BYTES} bytes", error_code="bad_size")
    storage.reserve(caller.account_id, MOST_BYTES if size is None else size)
    key = f"{PREFIX}/{caller.account_id}/{uuid.uuid4()}/{name}"
    return key, artifacts.store().signed_put(key, content_type, length=size, limit=MOST_BYTES, seconds=SECONDS)


def upload_url_of_api(caller: Caller, fields: dict[str, Any]) -> tuple[str, SignedUrl]:
    """`upload_url`, with a URL of the API in any store, for pages that may reach no other host."""
    if artifacts.local_store() is None:
        fields = {**fields, "size": None}
    return upload_url(caller, fields)


def find_uploaded(caller: Caller, keys: Iterable[str]) -> Uploaded:
    """What is stored of the files that the caller uploaded under `keys`, by key.

    Call it outside a transaction: the store may be slow, and no row may be locked meanwhile.
    """
    own = [key for key in dict.fromkeys(keys) if _is_own(caller, key)]
    found = {key: artifacts.store().stat(key) for key in own[:MOST_FILES]}
    return {key: stored for key, stored in found.items() if stored is not None}


def delete_url(caller: Caller, key: str, found: Uploaded) -> SignedUrl:
    """A URL to delete an uploaded file that `find_uploaded` found; raises `Conflict` if a session uses it."""
    caller.require(Scope.WRITE)
    if key not in found:
        message = f"file_key: your account has no uploaded file {key!r}"
        raise NotFound(message, error_code="file_not_found")
    _refuse_used(key)
    return artifacts.store().signed_delete(key, seconds=SECONDS)


def check_usable(keys: list[str], found: Uploaded) -> list[str]:
    """The keys without duplicates; raises `Invalid` for a file that was not found, is too large or has expired."""
    keys = list(dict.fromkeys(keys))
    if len(keys) > MOST_FILES:
        raise invalid("file_keys", f"may name at most {MOST_FILES} files", error_code="too_many_files")
    for key in keys:
        stored = found.get(key)
        if stored is None:
            raise invalid(
                "file_keys",
                f"{key!r} has not been uploaded; request an upload_url and PUT the file there",
                error_code="file_not_found",
            )
        if stored.size > MOST_BYTES:
            raise invalid("file_keys", f"{key!r} has more than {MOST_BYTES} bytes", error_code="bad_size")
        references.refuse_expired("file_keys", key, stored)
    return keys


def signed_size(key: str, terms: dict[str, str]) -> int:
    """The bytes that may be uploaded to a signed URL; 0 if it is not valid."""
    try:
        return int(artifacts.store().urls.verify("PUT", key, terms)["limit"])
    except Forbidden:
        return 0


def is_signed(method: str, key: str, terms: dict[str, str]) -> bool:
    """Whether the URL was signed for this request and is still valid."""
    with contextlib.suppress(Forbidden):
        artifacts.store().urls.verify(method, key, terms)
        return True
    return False


def put_blob(key: str, terms: dict[str, str], content_type: str, length: int | None, chunks: Iterable[bytes]) -> None:
    """Serve a signed upload; the terms of its URL bind type and length."""
    store = artifacts.store()
    terms = store.urls.verify("PUT", key, terms)
    if content_type != terms["type"]:
        message = f"The URL was signed for another Content-Type. Send Content-Type: {terms['type']}."
        raise BadRequest(message, error_code="wrong_content_type")
    if length is None:
        message = "The body has no Content-Length. Send that header instead of a chunked body."
        raise BadRequest(message, error_code="length_required")
    if "length" in terms and length != int(terms["length"]):
        message = f"The URL was signed for {terms['length']} bytes, and the body has {length}. Request a new URL."
        raise BadRequest(message, error_code="wrong_length")
    if length > int(terms["limit"]):
        raise TooLarge(f"The body has {length} bytes. The URL was signed for at most {terms['limit']}.")
    store.put(key, _exactly(length, chunks), limit=int(terms["limit"]))


def _exactly(length: int, chunks: Iterable[bytes]) -> Iterable[bytes]:
    """The chunks; raises if the connection ends before `length` bytes, so that half a file is never stored."""
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        yield chunk
    if seen != length:
        message = f"Only {seen} of {length} bytes arrived. Upload the file again."
        raise BadRequest(message, error_code="incomplete_body")


def read_blob(key: str, terms: dict[str, str]) -> Iterator[bytes]:
    """Serve a signed read; raises `NotFound` if the file is not stored."""
    store = artifacts.store()
    store.urls.verify("GET", key, terms)
    try:
        return store.read(key)
    except FileNotFoundError:
        message = "The file is not stored: it was never uploaded, or has been deleted."
        raise NotFound(message, error_code="file_not_found") from None


def delete_blob(key: str, terms: dict[str, str]) -> None:
    """Serve a signed deletion; raises `Conflict` if a session uses the file by now."""
    store = artifacts.store()
    store.urls.verify("DELETE", key, terms)
    # The store may be slow, and no row is locked meanwhile.
    with db.transaction(read_only=True):
        _refuse_used(key)
    store.delete(key)


def _is_own(caller: Caller, key: str) -> bool:
    parts = key.split("/")
    return len(parts) == 4 and parts[:2] == [PREFIX, str(caller.account_id)] and ".." not in parts and "" not in parts


def _refuse_used(key: str) -> None:
    if db.session.scalar(sa.select(sa.exists().where(SessionFile.file_key == key))):
        raise Conflict("A session uses this file, so it cannot be deleted.", error_code="file_in_use")
