"""Files that callers upload for agents: signed URLs to put and delete them, and who may use which."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from app import artifacts, db
from app.artifacts import LocalStore, SignedUrl, Stored
from app.errors import BadRequest, Conflict, NotFound, TooLarge, invalid
from app.models import SessionFile
from app.models.states import Scope
from app.services.artifacts import references
from app.services.callers import Caller

MOST_BYTES = 10 * 1024 * 1024
MOST_FILES = 20
SECONDS = 14 * 60
PREFIX = "user-uploaded-content"
Uploaded = dict[str, Stored]
"""What is stored of files that were uploaded, by their keys."""

_NAME = re.compile(r"[^/\\\x00-\x1f\x7f]{1,200}")
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}(; ?charset=[A-Za-z0-9_-]{1,40})?")


def upload_url(caller: Caller, fields: dict[str, Any]) -> tuple[str, SignedUrl]:
    """A new key and a URL to put the file under it. `size`, in bytes, is signed where it is given."""
    caller.require(Scope.WRITE)
    if fields.get("account_id") not in (None, caller.account_id):
        raise NotFound("account_id: there is no such account, or it is not yours", error_code="account_not_found")
    # Some systems write an umlaut as two characters; a name has one spelling here.
    name = unicodedata.normalize("NFC", fields["filename"])
    content_type, size = fields["content_type"], fields.get("size")
    if not _NAME.fullmatch(name) or name in (".", "..") or len(name.encode()) > 255:
        message = "must be a file name of at most 200 characters and 255 bytes, without slashes and control characters"
        raise invalid("filename", message, error_code="bad_filename")
    if not _TYPE.fullmatch(content_type):
        raise invalid("content_type", "must be a media type, such as image/png", error_code="bad_content_type")
    if size is not None and not 0 <= size <= MOST_BYTES:
        raise invalid("size", f"must be from 0 to {MOST_BYTES} bytes", error_code="bad_size")
    key = f"{PREFIX}/{caller.account_id}/{uuid.uuid4()}/{name}"
    return key, artifacts.store().signed_put(key, content_type, length=size, limit=MOST_BYTES, seconds=SECONDS)


def find_uploaded(caller: Caller, keys: Iterable[str]) -> Uploaded:
    """What is stored of the files that the caller uploaded under `keys`, by key.

    To be called in no transaction: the store may take long, and nobody shall wait for a row meanwhile.
    """
    own = [key for key in dict.fromkeys(keys) if _is_own(caller, key)]
    found = {key: artifacts.store().stat(key) for key in own[:MOST_FILES]}
    return {key: stored for key, stored in found.items() if stored is not None}


def delete_url(caller: Caller, key: str, found: Uploaded) -> SignedUrl:
    """A URL to delete an uploaded file, one of those that `find_uploaded` found; raises `Conflict` for one that a session
    uses."""
    caller.require(Scope.WRITE)
    if key not in found:
        message = f"file_key: no file was uploaded under {key!r} in your account"
        raise NotFound(message, error_code="file_not_found")
    _refuse_used(key)
    return artifacts.store().signed_delete(key, seconds=SECONDS)


def check_usable(keys: list[str], found: Uploaded) -> list[str]:
    """The keys, each once; raises `Invalid` for one that `find_uploaded` did not find, and one too large or expired."""
    keys = list(dict.fromkeys(keys))
    if len(keys) > MOST_FILES:
        raise invalid("file_keys", f"may name at most {MOST_FILES} files", error_code="too_many_files")
    for key in keys:
        stored = found.get(key)
        if stored is None:
            raise invalid(
                "file_keys",
                f"{key!r} has not been uploaded; ask for an upload_url and put the file there",
                error_code="file_not_found",
            )
        if stored.size > MOST_BYTES:
            raise invalid("file_keys", f"{key!r} is larger than {MOST_BYTES} bytes", error_code="bad_size")
        references.refuse_expired("file_keys", key, stored)
    return keys


def put_blob(key: str, terms: dict[str, str], content_type: str, length: int | None, chunks: Iterable[bytes]) -> None:
    """Serve a signed upload; the terms of its URL bind type and length."""
    store = _local_store()
    terms = store.verify("PUT", key, terms)
    if content_type != terms["type"]:
        raise BadRequest(f"the URL was signed for Content-Type {terms['type']}", error_code="wrong_content_type")
    if length is None:
        raise BadRequest("send the header Content-Length, not a body in chunks", error_code="length_required")
    if "length" in terms and length != int(terms["length"]):
        raise BadRequest(f"the URL was signed for {terms['length']} bytes", error_code="wrong_length")
    if length > int(terms["limit"]):
        raise TooLarge(f"the URL was signed for at most {terms['limit']} bytes")
    store.put(key, _exactly(length, chunks), limit=int(terms["limit"]))


def _exactly(length: int, chunks: Iterable[bytes]) -> Iterable[bytes]:
    """The chunks; raises where the connection ended before `length` bytes, so that half a file is never stored."""
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        yield chunk
    if seen != length:
        raise BadRequest(f"only {seen} of {length} bytes arrived", error_code="incomplete_body")


def read_blob(key: str, terms: dict[str, str]) -> Iterator[bytes]:
    """Serve a signed read; raises `NotFound` where there is nothing (any more)."""
    store = _local_store()
    store.verify("GET", key, terms)
    try:
        return store.read(key)
    except FileNotFoundError:
        raise NotFound("the file is not stored, or no longer", error_code="file_not_found") from None


def delete_blob(key: str, terms: dict[str, str]) -> None:
    """Serve a signed deletion. A file that a session has come to use since stays."""
    store = _local_store()
    store.verify("DELETE", key, terms)
    _refuse_used(key)
    store.delete(key)


def _local_store() -> LocalStore:
    store = artifacts.local_store()
    if store is None:
        raise NotFound("this deployment keeps its files in S3, not below /blobs", error_code="no_local_store")
    return store


def _is_own(caller: Caller, key: str) -> bool:
    parts = key.split("/")
    return len(parts) == 4 and parts[:2] == [PREFIX, str(caller.account_id)] and ".." not in parts and "" not in parts


def _refuse_used(key: str) -> None:
    if db.session.scalar(sa.select(sa.exists().where(SessionFile.file_key == key))):
        raise Conflict("a session uses this file, so it cannot be deleted", error_code="file_in_use")
