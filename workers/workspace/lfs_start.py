"""How the content of files of Git LFS gets into a new checkout."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from workers.errors import EngineError
from workers.job import Host, Job
from workers.lfs.cache import Cache
from workers.lfs.server import Server
from workers.lfs.transfer import fetch, fetch_stored
from workers.limits.git_limits import occupied
from workers.repository.git import Git
from workers.repository.objects import Objects
from workers.repository.remote import Remote
from workers.repository.trees import Change
from workers.sandbox.base import Overlay
from workers.workspace.agent_repository import copy_index
from workers.workspace.base import Base
from workers.workspace.lfs_files import SLOW_ATTRIBUTES, LfsFiles, Tracked, open_folder
from workers.workspace.lfs_tracked import find_at_start
from workers.workspace.overlay import folder_in
from workers.workspace.ownership import change_owner

# The agent needs disk space and time as well.
_SHARE = 2
_NOT_HERE = "its content has another size, or was just removed from this worker. Try again"


def fill(
    job: Job,
    host: Host,
    files: LfsFiles,
    base: Base,
    objects: Objects,
    tree: str,
    changed: Sequence[Change],
    git: Git,
    checkout: Path,
    overlay: Overlay | None,
) -> list[str] | None:
    """Fetch the content of the files of `tree` that Git LFS keeps, and write it into a new checkout.

    `changed` is how the tree differs from the base. Returns one line on each file that stays a pointer: path and reason;
    None if the repository has no Git LFS. `git` has our index, and the limits of the attempt: the files may take half of
    its disk space and of its time. Raises what `Git.check_time` does, EngineError of the artifact store, and OSError.
    """
    try:
        found = find_at_start(base.folder, base.facts.tree, git, objects, tree, changed)
    except TimeoutError:
        return [SLOW_ATTRIBUTES]
    if found is None:
        return None
    of_base, earlier = found
    tracked = {**of_base, **earlier}
    chosen = _within(tracked, git.limits.disk_bytes // _SHARE)
    failures = _bring(job, host, git, files.cache, chosen, {each.pointer.oid for each in earlier.values()})
    missing = set(_write(files, chosen, checkout, overlay, git)) if chosen else ()
    lines = []
    for path, each in tracked.items():
        if path not in chosen:
            reason = f"its {each.pointer.size:,} bytes, with those of smaller files, exceed the limit"
        elif path in missing:
            reason = failures.get(each.pointer.oid, _NOT_HERE)
        else:
            continue
        lines.append(f"{path.decode(errors='replace')}: {reason}")
    return lines


def _within(tracked: Mapping[bytes, Tracked], room: int) -> dict[bytes, Tracked]:
    """The files for which there is room, the smallest first."""
    found = {}
    for path, each in sorted(tracked.items(), key=lambda item: item[1].pointer.size):
        room -= occupied(each.pointer.size)
        if room < 0:
            break
        found[path] = each
    return found


def _bring(
    job: Job, host: Host, git: Git, cache: Cache, chosen: Mapping[bytes, Tracked], made: Collection[str]
) -> dict[str, str]:
    """Fetch the objects into the cache; sessions of the runner may have `made` some. Returns why those that failed did."""
    wanted = {each.pointer.oid: each.pointer for each in chosen.values()}
    missing = [pointer for pointer in wanted.values() if cache.find(pointer) is None]
    if missing and job.read_lfs_object:
        stored = fetch_stored((each for each in missing if each.oid in made), cache, job.read_lfs_object)
        missing = [pointer for pointer in missing if pointer.oid not in stored]
    if not missing:
        return {}
    left = git.budget.seconds_left if git.budget else host.fetch_timeout_seconds
    seconds = min(host.fetch_timeout_seconds, left / _SHARE)
    try:
        server = Server(Remote(job.repo_url, job.credential, host), host, seconds, lambda: git.check_time(None))
        return fetch(missing, cache, server)
    except EngineError as error:
        if error.code == "time_limit":
            raise
        return dict.fromkeys((pointer.oid for pointer in missing), error.message.rstrip("."))


def _write(
    files: LfsFiles, chosen: Mapping[bytes, Tracked], checkout: Path, overlay: Overlay | None, git: Git
) -> list[bytes]:
    """Write the files whose content is in the cache. Returns the paths of the others."""
    assert git.index is not None
    repository = checkout / ".git"
    if overlay is None:
        indexes = (git.index, repository / "index")
        return files.write(chosen, checkout, partial(open_folder, checkout), indexes, git.object_format)
    if not (repository / "index").exists():
        copy_index(overlay.lower / ".git" / "index", repository)
        change_owner(repository / "index", os.stat(checkout).st_uid)
    return files.write(chosen, checkout, partial(folder_in, overlay), (repository / "index",), git.object_format)
