"""Stored diffs: their keys, reading them whole or in pages of files, and storing those that callers send."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from app import artifacts, db
from app.config import settings
from app.errors import NotFound, invalid
from app.models.states import Scope
from app.services import lookup
from app.services.artifacts import references, uploads
from app.services.artifacts.patch_check import DamagedDiff, whole_diff
from app.services.callers import Caller

FILE_START = b"diff --git "
BINARY_START = b"GIT binary patch"
# The folders in the artifact store for diffs of attempts, and for diffs that callers sent to replace a runner's.
SESSIONS, RUNNERS = "agent-runner-sessions-diffs", "agent-runners-diffs"


@dataclass(frozen=True)
class Diff:
    """A diff to send: its bytes, and the number of files in the whole diff."""

    chunks: Iterator[bytes]
    files: int | None = None


def attempt_key(runner_id: uuid.UUID, session_id: uuid.UUID, attempt: int, kind: str) -> str:
    """The key under which an attempt stores its diff of `kind` result or cumulative. Its attempt is part of the fence."""
    return f"{SESSIONS}/{runner_id}/{session_id}/{attempt}/{kind}.patch"


def reported_key(issued: str) -> str:
    """The key for a report's diff. It differs from `issued`, to which the attempt's upload URL still allows writes."""
    return f"{issued.removesuffix('.patch')}-{uuid.uuid4()}.patch"


def read_runner_diff(
    caller: Caller, runner_id: uuid.UUID, *, page: int | None, per_page: int, strip_binary: bool
) -> Diff:
    """The runner's diff, whole or one page of its files; raises `NotFound` if there is none.

    Call this and `read_session_diff` outside a transaction: the store may be slow, and no connection is held meanwhile.
    """
    with db.transaction(read_only=True):
        caller.require(Scope.READ)
        key = lookup.get_runner(caller, runner_id).diff_key
    total = sum(1 for _ in _files(_lines(_read(key))))
    if page is None and not strip_binary:
        return Diff(_read(key), total)
    files = _files(_lines(_read(key)))
    if page is not None:
        files = islice(files, (page - 1) * per_page, page * per_page)
    if strip_binary:
        files = (_without_binary(file) for file in files)
    return Diff((line for file in files for line in file), total)


def read_session_diff(caller: Caller, runner_id: uuid.UUID, session_id: uuid.UUID, kind: str) -> Diff:
    """What a session alone changed (`result`), or all up to and including it (`cumulative`); raises `NotFound`."""
    with db.transaction(read_only=True):
        caller.require(Scope.READ)
        session = lookup.get_session(lookup.get_runner(caller, runner_id), session_id)
        key = session.result_diff_key if kind == "result" else session.cumulative_diff_key
    return Diff(_read(key))


def _read(key: str | None) -> Iterator[bytes]:
    if key is None:
        message = "There is no diff. Either nothing was changed, or the work has not ended: check the session's state."
        raise NotFound(message, error_code="no_diff")
    try:
        return artifacts.store().read(key)
    except FileNotFoundError:
        message = "The diff is missing from the artifact store. Run the session again, or ask the operator."
        raise NotFound(message, error_code="diff_gone") from None


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest


def _files(lines: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """The lines of each file. A line of content begins with a sign, and a line of a binary patch has no space, so only
    a header can look like one. Iterating to the next file skips the rest of the current one."""
    head: bytes | None = next(lines, None)

    def one() -> Iterator[bytes]:
        nonlocal head
        assert head is not None
        yield head
        for head in lines:
            if head.startswith(FILE_START):
                return
            yield head
        head = None

    while head is not None:
        file = one()
        yield file
        for _ in file:
            pass


def _without_binary(file: Iterator[bytes]) -> Iterator[bytes]:
    for line in file:
        if line.startswith(BINARY_START):
            yield b"Binary files differ\n"
            return
        yield line


def store_runner_diff(runner_id: uuid.UUID, account_id: uuid.UUID, inline: str | None, key: str | None) -> str | None:
    """Store the diff with which a caller replaces the runner's own, and return its key; None if the diff is empty.

    The diff is `inline`, or was uploaded under `key`.
    """
    new_key = f"{RUNNERS}/{runner_id}/{uuid.uuid4()}.patch"
    if inline is not None:
        return store("result_diff", [inline.encode()], new_key)
    assert key is not None
    mine = (f"{uploads.PREFIX}/{account_id}/", f"{SESSIONS}/{runner_id}/")
    stored = artifacts.store().stat(key) if key.startswith(mine) and ".." not in key else None
    if stored is None:
        message = "is not the key of a stored diff of this agent runner; upload the diff first"
        raise invalid("result_diff_s3_key", message, error_code="bad_key")
    references.refuse_expired("result_diff_s3_key", key, stored)
    return store("result_diff_s3_key", artifacts.store().read(key), new_key)


def store(field: str, content: Iterable[bytes], key: str) -> str | None:
    """Store a caller's diff under `key` and return the key; None if the diff is empty. Raises `Invalid` unless it is a
    complete git diff.

    An uploaded diff is copied, because the holder of its upload URL can still replace or delete the original after the
    check. This takes as long as the artifact store does. Whether the diff applies is checked when it is used.
    """
    try:
        stored = artifacts.store().put(key, whole_diff(content, settings().max_file_bytes))
    except DamagedDiff as damage:
        raise invalid(field, f"is not a complete git diff: {damage}", error_code="not_a_diff") from None
    return key if stored else None
