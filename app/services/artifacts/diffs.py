"""Stored diffs: their keys, reading them whole or by pages of files, and putting one in another's place."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

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
# The folders of the artifact store that hold diffs of attempts, and those that callers put in the place of a runner's.
SESSIONS, RUNNERS = "agent-runner-sessions-diffs", "agent-runners-diffs"


@dataclass(frozen=True)
class Diff:
    """A diff to be sent: its bytes, and how many files all of it has."""

    chunks: Iterator[bytes]
    files: int | None = None


def attempt_key(runner_id: uuid.UUID, session_id: uuid.UUID, attempt: int, kind: str) -> str:
    """Where an attempt stores a diff of `kind` result or cumulative. The attempt in it is part of the fence."""
    return f"{SESSIONS}/{runner_id}/{session_id}/{attempt}/{kind}.patch"


def reported_key(issued: str) -> str:
    """Where a report's diff is kept apart from `issued`, the key that its attempt may upload to."""
    return f"{issued.removesuffix('.patch')}-{uuid.uuid4()}.patch"


def read_runner_diff(
    caller: Caller, runner_id: uuid.UUID, *, page: int | None, per_page: int, strip_binary: bool
) -> Diff:
    """The runner's diff, whole or one page of its files; raises `NotFound` where there is none.

    To be called in no transaction, as the next: the store may take long, and no connection shall be held meanwhile.
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
    """What a session alone changed (`result`), or all up to and with it (`cumulative`); raises `NotFound`."""
    with db.transaction(read_only=True):
        caller.require(Scope.READ)
        session = lookup.get_session(lookup.get_runner(caller, runner_id), session_id)
        key = session.result_diff_key if kind == "result" else session.cumulative_diff_key
    return Diff(_read(key))


def _read(key: str | None) -> Iterator[bytes]:
    if key is None:
        raise NotFound("there is no diff: nothing was changed, or the work has not ended", error_code="no_diff")
    try:
        return artifacts.store().read(key)
    except FileNotFoundError:
        raise NotFound("the diff is no longer stored", error_code="diff_gone") from None


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest


def _files(lines: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """The lines of each file. A line of content begins with a sign and one of a binary patch has no space, so only a
    header can look like one. Each file must be read, or skipped by asking for the next one."""
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


def take_runner_diff(runner_id: uuid.UUID, account_id: uuid.UUID, fields: dict[str, Any]) -> str | None:
    """Store the diff that a caller puts in place of the runner's own and return its key; empty means none at all."""
    own = f"{RUNNERS}/{runner_id}/{uuid.uuid4()}.patch"
    if fields.get("result_diff") is not None:
        return take("result_diff", [fields["result_diff"].encode()], own)
    key = fields["result_diff_s3_key"]
    mine = (f"{uploads.PREFIX}/{account_id}/", f"{SESSIONS}/{runner_id}/")
    stored = artifacts.store().stat(key) if key.startswith(mine) and ".." not in key else None
    if stored is None:
        raise invalid("result_diff_s3_key", "names no stored diff of this agent runner", error_code="bad_key")
    references.refuse_expired("result_diff_s3_key", key, stored)
    return take("result_diff_s3_key", artifacts.store().read(key), own)


def take(field: str, content: Iterable[bytes], own: str) -> str | None:
    """Store a diff that a caller brings under `own` and return that; None where it is empty. Raises `Invalid` for what is
    no git diff, or not a complete one.

    What was uploaded is copied by this: it may still be replaced or deleted by whoever holds its URLs, but not what has
    been looked at. It takes as long as the store does. Whether the diff applies is seen when it is used.
    """
    try:
        stored = artifacts.store().put(own, whole_diff(content, settings().max_file_bytes))
    except DamagedDiff as damage:
        raise invalid(field, f"is no complete git diff: {damage}", error_code="not_a_diff") from None
    return own if stored else None
