"""How the content of files of Git LFS gets into a new checkout."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from workers.errors import EngineError
from workers.job import Host, Job
from workers.lfs.cache import Cache
from workers.lfs.pointers import Pointer
from workers.lfs.server import Server
from workers.lfs.transfer import fetch, fetch_stored
from workers.limits.git_limits import occupied
from workers.repository.git import Git
from workers.repository.remote import Remote
from workers.sandbox.base import Overlay
from workers.workspace.agent_repository import copy_index
from workers.workspace.lfs_files import LfsFiles, Tracked, open_folder
from workers.workspace.overlay import folder_in
from workers.workspace.ownership import change_owner

# The agent needs disk space and time as well.
_SHARE = 2


def bring(
    job: Job, host: Host, git: Git, cache: Cache, base: Mapping[bytes, Tracked], earlier: Mapping[bytes, Tracked]
) -> list[str]:
    """Fetch the content of these files into the cache. Returns one line on each that could not be: path and reason.

    `git` has the limits of the attempt: the files may take half of its disk space and of its time. Raises what
    `Git.check_time` does, and OSError.
    """
    failures: dict[str, str] = {}
    wanted = {each.pointer.oid: each.pointer for each in (*base.values(), *earlier.values())}
    chosen = _within(wanted, git.limits.disk_bytes // _SHARE, failures)
    missing = [pointer for pointer in chosen if cache.find(pointer.oid) is None]
    if missing and job.read_lfs_object:
        made = {each.pointer.oid for each in earlier.values()}
        stored = fetch_stored((each for each in missing if each.oid in made), cache, job.read_lfs_object)
        missing = [pointer for pointer in missing if pointer.oid not in stored]
    if missing:
        failures |= _fetch(job, host, git, cache, missing)
    return list(_lines({**base, **earlier}, failures))


def write(
    files: LfsFiles, tracked: Mapping[bytes, Tracked], checkout: Path, overlay: Overlay | None, ours: Git
) -> None:
    """Write the files whose content is in the cache into a new checkout. `ours` has our index. Raises OSError."""
    assert ours.index is not None
    repository = checkout / ".git"
    if overlay is None:
        files.write(
            tracked, checkout, partial(open_folder, checkout), (ours.index, repository / "index"), ours.object_format
        )
        return
    if not (repository / "index").exists():
        copy_index(overlay.lower / ".git" / "index", repository)
        change_owner(repository / "index", os.stat(checkout).st_uid)
    files.write(tracked, checkout, partial(folder_in, overlay), (repository / "index",), ours.object_format)


def _within(wanted: Mapping[str, Pointer], room: int, failures: dict[str, str]) -> Iterator[Pointer]:
    """The objects for which there is room, the smallest first."""
    for pointer in sorted(wanted.values(), key=lambda each: each.size):
        room -= occupied(pointer.size)
        if room >= 0:
            yield pointer
        else:
            failures[pointer.oid] = f"its {pointer.size:,} bytes, with those of smaller files, exceed the limit"


def _fetch(job: Job, host: Host, git: Git, cache: Cache, missing: Sequence[Pointer]) -> dict[str, str]:
    left = git.budget.seconds_left if git.budget else host.fetch_timeout_seconds
    seconds = min(host.fetch_timeout_seconds, left / _SHARE)
    try:
        server = Server(Remote(job.repo_url, job.credential, host), host, seconds, lambda: git.check_time(None))
        return fetch(missing, cache, server)
    except EngineError as error:
        if error.code == "time_limit":
            raise
        return dict.fromkeys((pointer.oid for pointer in missing), error.message.rstrip("."))


def _lines(tracked: Mapping[bytes, Tracked], failures: Mapping[str, str]) -> Iterator[str]:
    for path, each in tracked.items():
        if reason := failures.get(each.pointer.oid):
            yield f"{path.decode(errors='replace')}: {reason}"
