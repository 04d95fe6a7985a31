"""Fetches objects of Git LFS into the host's cache, and uploads those that a server lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from workers.errors import EngineError
from workers.lfs.batch import Listed
from workers.lfs.cache import Cache, Mismatch
from workers.lfs.pointers import Pointer
from workers.lfs.server import LfsFailed, Server, groups

Read = Callable[[str], Iterator[bytes]]
"""Reads the stored content of an object that a session of the runner made. Raises FileNotFoundError if there is none."""
_MISMATCH = "its content is not what its pointer says"


def fetch_stored(pointers: Iterable[Pointer], cache: Cache, read: Read) -> set[str]:
    """Fetch what sessions of the runner made into the cache. Returns the ids of those that are there."""
    found = set()
    for pointer in pointers:
        try:
            with cache.adding(pointer) as writer:
                for chunk in read(pointer.oid):
                    writer.write(chunk)
        except (FileNotFoundError, Mismatch):
            continue
        found.add(pointer.oid)
    return found


def fetch(pointers: Sequence[Pointer], cache: Cache, server: Server) -> dict[str, str]:
    """Fetch objects from the server into the cache, in this order. Returns why those that failed did, by their ids.

    Raises what the server's `check` does, and OSError.
    """
    failures: dict[str, str] = {}
    for group in groups(pointers):
        try:
            listed = server.list("download", group)
            for pointer in group:
                if reason := _fetch(pointer, listed.get(pointer.oid), cache, server):
                    failures[pointer.oid] = reason
        except LfsFailed as failed:
            rest = (each for each in pointers if each.oid not in failures and cache.find(each) is None)
            return failures | {each.oid: str(failed) for each in rest}
    return failures


def _fetch(pointer: Pointer, listed: Listed | None, cache: Cache, server: Server) -> str | None:
    """Fetch one object. Returns why it failed. Raises LfsFailed if all others would."""
    if listed is None or (listed.action is None and not listed.error):
        return "the server says nothing of it"
    if listed.action is None:
        return listed.error
    try:
        with cache.adding(pointer) as writer:
            server.get(listed.action, writer.write)
    except Mismatch:
        return _MISMATCH
    except LfsFailed as failed:
        if failed.is_of_all:
            raise
        return str(failed)
    return None


def upload(pointers: Mapping[str, Pointer], server: Server, open_object: Callable[[Pointer], Path | None]) -> list[str]:
    """Upload those objects that the server lacks. Returns the ids of those that are nowhere.

    `open_object` returns a verified file with the content of one, if there is one. Raises EngineError `lfs_upload_failed`.
    """
    nowhere = []
    try:
        for group in groups(list(pointers.values())):
            for oid, listed in server.list("upload", group).items():
                if listed.error:
                    raise LfsFailed(f"of {oid[:12]}, {listed.error}")
                if listed.action is None:
                    continue
                file = open_object(pointers[oid])
                if file is None:
                    nowhere.append(oid)
                else:
                    server.put(pointers[oid], listed, file)
    except LfsFailed as failed:
        message = (
            f"Files of Git LFS could not be uploaded: {failed}. Nothing was pushed. Correct that and publish again, or have "
            "another session stop tracking the files with Git LFS."
        )
        raise EngineError("lfs_upload_failed", "publish", message, retryable=failed.retryable) from None
    return nowhere
