"""Stored diffs: their keys, reading them whole or in pages of files, and storing those that callers send."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import IO, BinaryIO

from app import artifacts, db
from app.artifacts.base import CHUNK
from app.config import settings
from app.errors import NotFound, invalid
from app.models.states import DiffKind, Scope
from app.services import lookup
from app.services.artifacts import diff_index, references, uploads
from app.services.artifacts.diff_files import DiffFile
from app.services.artifacts.diff_index import Index
from app.services.artifacts.patch_check import DamagedDiff, whole_diff
from app.services.artifacts.sealed import DamagedArtifact, seal, sealed_digest, sealed_size
from app.services.callers import Caller
from app.services.pagination import Page

# The folders in the artifact store for diffs of attempts, and for diffs that callers sent to replace a runner's.
SESSIONS, RUNNERS = "agent-runner-sessions-diffs", "agent-runners-diffs"
GONE = "The diff is missing from the artifact store. Restore it from a backup, or run the session again."
_NO_DIFF = "There is no diff. Either nothing was changed, or the work has not ended: check the session's state."
_NO_RUNNER_DIFF = (
    "The agent runner has no diff. Either nothing was changed, or no session has ended in DONE. The work of one that failed "
    "or was stopped is with that session; POST revert with its session_id makes it the runner's."
)
DAMAGED = "The stored diff is damaged. Restore it from a backup, or run the session again."
_IN_MEMORY = 1 << 20
MOST_CHECKED_FIRST = 1 << 20
"""Up to this many bytes are read and checked before any of them is sent."""


def attempt_key(runner_id: uuid.UUID, session_id: uuid.UUID, attempt: int, kind: str) -> str:
    """The key to which an attempt's upload URL for its diff of `kind` result or cumulative allows writes."""
    return f"{SESSIONS}/{runner_id}/{session_id}/{attempt}/{kind}.patch"


def new_name(attempt_key: str) -> str:
    """A name to store an attempt's diff under with `put`. It is used once, so what is stored under it never changes: its
    index and its tag stay valid."""
    return f"{attempt_key.removesuffix('.patch')}-{uuid.uuid4()}"


class StoredDiff:
    """A diff in the artifact store, for reading. Nothing is read before it is needed.

    Use it outside a transaction: the store may be slow, and no connection is held meanwhile. What reads the store raises
    `NotFound` if the diff is not stored, or is not what was stored.
    """

    def __init__(self, key: str) -> None:
        self._key = key

    @property
    def tag(self) -> str:
        """Identifies the content."""
        return hashlib.blake2b(self._key.encode(), digest_size=16).hexdigest()

    @property
    def digest(self) -> bytes | None:
        """The SHA-256 of the content, as it was stored. None: an earlier release stored it."""
        return sealed_digest(self._key)

    @functools.cached_property
    def _index(self) -> Index:
        with _found():
            self._check_size()
            return diff_index.find_or_make(self._key)

    def _check_size(self) -> None:
        """Compare the size with the one in the key, where that costs no request; S3 checks what it stores itself."""
        local, size = artifacts.local_store(), sealed_size(self._key)
        if local and size is not None and (found := local.stat(self._key)) and found.size != size:
            raise NotFound(DAMAGED, error_code="artifact_damaged")

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self._index.size

    @property
    def total(self) -> int:
        """The number of files."""
        return self._index.files

    def span(self, page: int, per_page: int) -> tuple[int, int]:
        """Where in the diff a page of files starts and ends."""
        return self._index.span((page - 1) * per_page, page * per_page)

    def files(self, page: int, per_page: int, *, sensitive: bool = False) -> Page[DiffFile]:
        """A page of the files, or of those that are `sensitive`."""
        if sensitive:
            found = [file for file in self._index.read(0, self.total) if file.sensitive]
            return Page(found[(page - 1) * per_page : page * per_page], page, per_page, len(found), None)
        files = self._index.read((page - 1) * per_page, page * per_page)
        return Page(files, page, per_page, self.total, None)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` to before `end`, in chunks. A part of up to `MOST_CHECKED_FIRST` bytes is checked before
        this returns, a longer one while it is read."""
        if start >= end:
            return iter(())
        with _found():
            chunks = self._index.verified(start, end)
            return iter(list(chunks)) if end - start <= MOST_CHECKED_FIRST else _checked(chunks)

    def open(self) -> BinaryIO | None:
        """The file that holds a long diff, opened: nothing in it is checked. None if it is not long, or the store has no
        files."""
        store = artifacts.local_store()
        with _found():
            return store.open(self._key) if store and self.size > MOST_CHECKED_FIRST else None


def _checked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    with _found():
        yield from chunks


@contextlib.contextmanager
def _found() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFound(GONE, error_code="diff_gone") from None
    except DamagedArtifact:
        raise NotFound(DAMAGED, error_code="artifact_damaged") from None


def find_runner_diff(caller: Caller, runner_id: uuid.UUID) -> StoredDiff:
    """The runner's diff; raises `NotFound` if there is none."""
    with db.transaction(read_only=True):
        caller.require(Scope.READ)
        return stored(lookup.get_runner(caller, runner_id).diff_key, _NO_RUNNER_DIFF)


def find_session_diff(caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID, kind: str) -> StoredDiff:
    """A diff of a session, of `kind` result or cumulative; raises `NotFound` if there is none."""
    with db.transaction(read_only=True):
        caller.require(Scope.READ)
        session = lookup.get_session(lookup.get_runner(caller, runner_id), session_id)
        return stored(session.result_diff_key if kind == DiffKind.RESULT else session.cumulative_diff_key)


def stored(key: str | None, missing: str = _NO_DIFF) -> StoredDiff:
    """The diff under `key`; raises `NotFound` with the message `missing` if that is None."""
    if key is None:
        raise NotFound(missing, error_code="no_diff")
    return StoredDiff(key)


def put(name: str, read: Callable[[], Iterable[bytes]]) -> str:
    """Store the diff that `read` reads, and its index, and return the diff's key: `name` with its size and checksum. It
    is read twice. Raises what `Store.put` and `read` raise.

    Without its index a diff is complete, too: an index that could not be stored is made when it is needed.
    """
    key = seal(name, read(), ".patch")
    index = diff_index.Builder()
    artifacts.store().put(key, index.watch(read()))
    diff_index.store(key, index.finish())
    return key


def new_comparison_name(runner_id: uuid.UUID) -> str:
    """A name to store the diff between two sessions of the runner under with `put`. It is used once."""
    return f"{RUNNERS}/{runner_id}/comparison-{uuid.uuid4()}"


def store_runner_diff(runner_id: uuid.UUID, account_id: uuid.UUID, inline: str | None, key: str | None) -> str | None:
    """Store the diff with which a caller replaces the runner's own, and return its key; None if the diff is empty.

    The diff is `inline`, or was uploaded under `key`.
    """
    name = f"{RUNNERS}/{runner_id}/{uuid.uuid4()}"
    if inline is not None:
        return store("result_diff", [inline.encode()], name)
    assert key is not None
    mine = (f"{uploads.PREFIX}/{account_id}/", f"{SESSIONS}/{runner_id}/")
    found = artifacts.store().stat(key) if key.startswith(mine) and ".." not in key else None
    if found is None:
        message = "is not the key of a stored diff of this agent runner; upload the diff first"
        raise invalid("result_diff_s3_key", message, error_code="bad_key")
    references.refuse_expired("result_diff_s3_key", key, found)
    return store("result_diff_s3_key", artifacts.store().read(key), name)


def store(field: str, content: Iterable[bytes], name: str) -> str | None:
    """Store a caller's diff as `put` does and return its key; None if the diff is empty. Raises `Invalid` unless it is
    a complete git diff.

    An uploaded diff is copied, because the holder of its upload URL can still replace or delete the original after the
    check. This takes as long as the artifact store does. Whether the diff applies is checked when it is used.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        try:
            for chunk in whole_diff(content, settings().max_file_bytes, settings().max_diff_files):
                file.write(chunk)
        except DamagedDiff as damage:
            raise invalid(field, f"is not a complete git diff: {damage}", error_code="not_a_diff") from None
        return put(name, functools.partial(_content, file)) if file.tell() else None


def _content(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(CHUNK):
        yield chunk
