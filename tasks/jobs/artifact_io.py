"""Access to the artifact store for sessions and publications. Each call is retried while the store is unavailable."""

from __future__ import annotations

import dataclasses
import functools
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import structlog

from app import artifacts
from app.config import settings
from app.services.artifacts import conversations, diffs, lfs_objects, sealed
from app.services.execution.outcomes import Work
from app.services.execution.session_attempts import Claim
from workers.errors import EngineError
from workers.job import ConversationLost, DiffKind
from workers.processes.lifeline import boot_time

log = structlog.get_logger()
T = TypeVar("T")

RETRY_SECONDS = 1.0
_NO_FILE = "An attached file is missing from the artifact store. Upload it again and send the prompt again."


class StoredWork:
    """The engine's sink: the artifact store, under new keys of this attempt."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self.work = Work()
        """What is stored completely."""

    def write(self, kinds: Sequence[DiffKind], chunks: Iterable[bytes], *, contains_secret: bool) -> None:
        claim = self._claim
        name = diffs.new_name(diffs.attempt_key(claim.runner.id, claim.session.id, claim.attempt, kinds[0]))
        key = _retry(lambda: diffs.put(name, lambda: chunks))
        # The first session of a runner has one diff of both kinds. It is stored once, and both columns refer to it.
        if "result" in kinds:
            self.work = dataclasses.replace(self.work, result_diff_key=key)
        if "cumulative" in kinds:
            self.work = dataclasses.replace(self.work, cumulative_diff_key=key)
        self.work = dataclasses.replace(self.work, contains_secret=contains_secret)

    def write_lfs_object(self, oid: str, chunks: Iterable[bytes]) -> None:
        key = _retry(lambda: lfs_objects.put(self._claim.runner.id, oid, lambda: chunks))
        if key not in self.work.file_keys:
            self.work = dataclasses.replace(self.work, file_keys=(*self.work.file_keys, key))

    def write_conversation(self, chunks: Iterable[bytes]) -> None:
        claim = self._claim
        key = _retry(lambda: conversations.put(claim.runner.id, claim.session.id, claim.attempt, lambda: chunks))
        self.work = dataclasses.replace(self.work, conversation_key=key)


def store_comparison(runner_id: uuid.UUID, chunks: Iterable[bytes]) -> str:
    """Store the diff between two sessions of the runner under a new key, and return it. Raises EngineError as `_retry`."""
    name = diffs.new_comparison_name(runner_id)
    return _retry(lambda: diffs.put(name, lambda: chunks))


def diff_reader(key: str) -> Callable[[], Iterator[bytes]]:
    """A function that reads a stored diff when it is called. It raises EngineError as `_retry` does, `diff_gone`, and
    `artifact_damaged` after the last chunk."""
    return functools.partial(_read_diff, key)


def _read_diff(key: str) -> Iterator[bytes]:
    try:
        yield from sealed.verified(key, _read(key))
    except FileNotFoundError:
        raise EngineError("diff_gone", "upload", diffs.GONE) from None
    except sealed.DamagedArtifact:
        raise EngineError("artifact_damaged", "upload", diffs.DAMAGED) from None


def conversation_reader(key: str) -> Callable[[], Iterator[bytes]]:
    """A function that reads a stored conversation when it is called. It raises EngineError as `_retry` does, and
    `ConversationLost` if it is gone or damaged."""
    return functools.partial(_read_conversation, key)


def _read_conversation(key: str) -> Iterator[bytes]:
    try:
        yield from sealed.verified(key, _read(key))
    except FileNotFoundError:
        raise ConversationLost("It is missing from the artifact store.") from None
    except sealed.DamagedArtifact:
        raise ConversationLost("It is damaged in the artifact store.") from None


def lfs_reader(runner_id: uuid.UUID) -> Callable[[str], Iterator[bytes]]:
    """A function that reads the content of a file of Git LFS that a session of the runner added. It raises EngineError as
    `_retry` does, and FileNotFoundError."""
    return lambda oid: _read(lfs_objects.key_of(runner_id, oid))


def file_reader(key: str) -> Callable[[], Iterator[bytes]]:
    """A function that reads an attached file when it is called. It raises EngineError as `_retry` does, and `file_gone`."""
    return functools.partial(_read_file, key)


def _read_file(key: str) -> Iterator[bytes]:
    try:
        yield from _read(key)
    except FileNotFoundError:
        raise EngineError("file_gone", "upload", _NO_FILE) from None


def _read(key: str) -> Iterator[bytes]:
    """The chunks of an object. An interrupted read resumes where it stopped; each chunk has its own retry period."""
    chunks: Iterator[bytes] | None = None
    position = 0

    def next_chunk() -> bytes:
        nonlocal chunks
        try:
            chunks = chunks or artifacts.store().read(key, position)
            return next(chunks, b"")
        except artifacts.StoreUnavailable:
            chunks = None
            raise

    while chunk := _retry(next_chunk):
        position += len(chunk)
        yield chunk


def _retry(call: Callable[[], T]) -> T:
    """Call the store, and retry while it is unavailable. Raises EngineError `artifact_store_unavailable` in the end.

    The agent's work is done by then and would be lost, so this retries for a long time. The heartbeat keeps the lease.
    """
    give_up_at = boot_time() + settings().upload_patience_seconds
    while True:
        try:
            return call()
        except artifacts.StoreUnavailable as error:
            if boot_time() >= give_up_at:
                raise _unavailable() from error
            log.warning("store_unavailable", error=str(error))
        time.sleep(RETRY_SECONDS)


def _unavailable() -> EngineError:
    place = "the bucket of AGENT_RUNNERS_S3_BUCKET"
    if not settings().s3_bucket:
        place = "the folder of AGENT_RUNNERS_ARTIFACTS_DIR, which may be full or not mounted"
    message = (
        f"The artifact store ({place}) was unavailable for {settings().upload_patience_seconds:g} seconds. "
        "Repair it, then run the session or publication again; the worker's log has the store's errors."
    )
    return EngineError("artifact_store_unavailable", "upload", message, retryable=True)
