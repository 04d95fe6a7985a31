"""Fetches objects of Git LFS into the host's cache, and uploads those that a server lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from pathlib import Path
from typing import TypeVar

from workers.errors import EngineError
from workers.lfs.batch import Listed
from workers.lfs.cache import Cache, Mismatch
from workers.lfs.pointers import Pointer
from workers.lfs.server import AT_ONCE, LfsFailed, Server, groups

Item = TypeVar("Item")
Result = TypeVar("Result")
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
    """Fetch objects from the server into the cache, several at once. Returns why those that failed did, by their ids.

    Raises what the server's `check` does, and OSError.
    """
    failures: dict[str, str] = {}
    for group in groups(pointers):
        try:
            listed = server.list("download", group)
            asked = [(pointer, listed.get(pointer.oid)) for pointer in group]
            for (pointer, _), reason in _at_once(lambda each: _fetch(*each, cache, server), asked, server):
                if reason:
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
            server.get(listed.action, writer)
    except Mismatch:
        return _MISMATCH
    except LfsFailed as failed:
        if failed.is_of_all:
            raise
        return str(failed)
    return None


def upload(pointers: Mapping[str, Pointer], server: Server, open_object: Callable[[Pointer], Path | None]) -> list[str]:
    """Upload those objects that the server lacks, several at once. Returns the ids of those that are nowhere.

    `open_object` returns a verified file of its own with the content of one, if there is one; it is removed when it was
    sent. Raises EngineError `lfs_upload_failed`.
    """
    nowhere: list[str] = []

    def each_file(group: Mapping[str, Listed]) -> Iterator[tuple[Pointer, Listed, Path]]:
        for oid, listed in group.items():
            if listed.error:
                raise LfsFailed(f"of {oid[:12]}, {listed.error}")
            if listed.action is None:
                continue
            if file := open_object(pointers[oid]):
                yield pointers[oid], listed, file
            else:
                nowhere.append(oid)

    try:
        for group in groups(list(pointers.values())):
            _at_once(lambda each: _put(*each, server), each_file(server.list("upload", group)), server)
    except LfsFailed as failed:
        message = (
            f"Files of Git LFS could not be uploaded: {failed}. Nothing was pushed. Correct that and publish again, or have "
            "another session stop tracking the files with Git LFS."
        )
        raise EngineError("lfs_upload_failed", "publish", message, retryable=failed.retryable) from None
    return nowhere


def _put(pointer: Pointer, listed: Listed, file: Path, server: Server) -> None:
    try:
        server.put(pointer, listed, file)
    finally:
        file.unlink()


def _at_once(work: Callable[[Item], Result], items: Iterable[Item], server: Server) -> list[tuple[Item, Result]]:
    """Do the work for all items, for some of them at once. Returns each with its result, in the order in which they were done.

    An item is taken when it is its turn. Raises what the work does for one of them; that for the others ends soon.
    """
    done: list[tuple[Item, Result]] = []
    running: dict[Future[Result], Item] = {}
    pool = ThreadPoolExecutor(AT_ONCE, "lfs")

    def collect() -> None:
        for each in wait(running, return_when=FIRST_COMPLETED).done:
            done.append((running.pop(each), each.result()))

    try:
        for item in items:
            if len(running) == AT_ONCE:
                collect()
            # The deadline for all calls to forges is one of the context.
            running[pool.submit(copy_context().run, work, item)] = item
        while running:
            collect()
    except BaseException as error:
        server.stop()
        # Without waiting if the process is to end: a thread may wait for a connection.
        pool.shutdown(wait=not isinstance(error, SystemExit), cancel_futures=True)
        raise
    pool.shutdown()
    return done
