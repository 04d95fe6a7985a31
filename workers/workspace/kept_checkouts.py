"""Whole checkouts of earlier attempts, kept on the host to be used again.

To write thousands of files takes seconds, and to delete them slows down what is written next. So an attempt takes a kept
checkout of its site, if there is one, and only what differs from its own start is written.

    checkouts/<site_id>/<id>/    `<id>-<key>` for a sparse checkout, by the key of its cone
        files/   the checkout as the agent left it
        index    our index from before any process ran in the checkout

Nothing in `files` is trusted. A file stays where the file system says that nothing about it has changed since the index
was written: the time of a change of its status cannot be set. Everything else is removed.
"""

from __future__ import annotations

import os
import stat
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from workers.job import Host
from workers.limits.disk_usage import measure
from workers.repository.cone import Cone, mark_left_out
from workers.repository.git import Git
from workers.repository.index_file import Record, read_records
from workers.repository.plain_name import plain_name
from workers.repository.trees import unchanged_time
from workers.safe_walk import walk
from workers.workspace import trash

_KEPT_SECONDS, _KEPT_BYTES, _KEPT_OF_SITE = 86_400.0, 20 * 1024**3, 8
_FILES, _INDEX, _SIZE = "files", "index", "size"
_PREPARED = "prepared-index"
_ID_LENGTH = len(uuid.uuid4().hex)


def keep(host: Host, site_id: str, cone: Cone, checkout: Path) -> None:
    """Keep a checkout for later attempts of the site, if it is a whole one. Does nothing if enough are kept already.

    Everything that ran in it must have ended. Raises OSError.
    """
    index, kept = checkout.with_name(_PREPARED), _kept_of(host, site_id)
    is_whole = index.exists() and stat.S_ISDIR(os.lstat(checkout).st_mode)
    if not is_whole or len(_newest_first([kept])) >= _KEPT_OF_SITE:
        return
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = kept / (uuid.uuid4().hex + _ending(cone))
    folder.mkdir(mode=0o700)
    checkout.rename(folder / _FILES)
    # Last, because it makes the checkout complete.
    index.rename(folder / _INDEX)


def note_prepared(checkout: Path, git: Git) -> None:
    """Remember the state of all files in a whole checkout, before any process runs in it. Raises OSError."""
    assert git.index is not None
    # Git replaces its index whenever it writes one, so this stays as it is.
    os.link(git.index, checkout.with_name(_PREPARED))


def reuse(host: Host, site_id: str, cone: Cone, checkout: Path, git: Git, tree: str) -> None:
    """Replace an empty checkout by a kept one of the same cone, if there is one, without the files that are not as in `tree`.

    `git` has an index of the tree, which then also shows the state of these files on disk. What is removed is moved to
    a folder beside the checkout. If anything fails, the checkout is empty afterwards. Raises what `Git.run` does.
    """
    folder = checkout.with_name("reused")
    if not _take(_kept_of(host, site_id), _ending(cone), folder):
        return
    assert git.index is not None
    removed = checkout.with_name("removed")
    removed.mkdir(mode=0o700)
    try:
        wanted, found = (read_records(index, git.object_format) for index in (git.index, folder / _INDEX))
        same = {path: each for path, each in found.items() if path in wanted and each.is_same_file(wanted[path])}
        _remove_others(folder / _FILES, same, removed)
        (folder / _FILES).chmod(stat.S_IMODE(checkout.stat().st_mode))
        (folder / _FILES).rename(checkout)
    except (OSError, ValueError):
        return
    (folder / _INDEX).rename(git.index)
    with unchanged_time(git.index):
        git.run("read-tree", "-m", "-i", tree)
        # That takes the marks of the kept index for the files that both have, and none for the others.
        left_out, were = ({path for path, each in of.items() if each.is_left_out} for of in (wanted, found))
        mark_left_out(git, left_out - were)
        mark_left_out(git, (were - left_out) & wanted.keys(), is_left_out=False)


def evict_checkouts(host: Host) -> None:
    """Remove the checkouts that were not used for a day, and the oldest ones if they take up too much disk space."""
    total = 0
    for folder in _newest_first((host.work_dir / "checkouts").glob("*")):
        total += _size(folder)
        if time.time() - _kept_since(folder) > _KEPT_SECONDS or total > _KEPT_BYTES:
            trash.discard(host, folder)


def _kept_of(host: Host, site_id: str) -> Path:
    return host.work_dir / "checkouts" / plain_name(site_id)


def _newest_first(sites: Iterable[Path]) -> list[Path]:
    return sorted((folder for site in sites for folder in site.glob("*")), key=_kept_since, reverse=True)


def _ending(cone: Cone) -> str:
    """How the names of kept checkouts of the cone end."""
    return f"-{cone.key}" if cone else ""


def _take(kept: Path, ending: str, folder: Path) -> bool:
    """Move the newest complete checkout whose name ends so to `folder`. Of several attempts that want it, one gets it."""
    for each in _newest_first([kept]):
        if each.name[_ID_LENGTH:] == ending and (each / _INDEX).is_file():
            with suppress(OSError):
                each.rename(folder)
                return True
    return False


def _kept_since(folder: Path) -> float:
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0


def _remove_others(top: Path, files: Mapping[bytes, Record], removed: Path) -> None:
    """Move everything but unchanged files, and plain folders that lead to them, to `removed`. Raises OSError."""
    folders, mode = _folders_of(files), _usual_mode(removed)
    count, unseen = 0, 1
    for folder in walk(top):
        unseen -= 1
        if _has_attributes(folder.descriptor):
            raise OSError("attributes of a folder apply to the files that are made in it")
        above = os.fsencode(folder.path) + b"/" if folder.parent else b""
        with os.scandir(folder.descriptor) as entries:
            listed = list(entries)
        for entry in listed:
            path, status = above + os.fsencode(entry.name), entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                if path in folders and stat.S_IMODE(status.st_mode) == mode:
                    folder.subfolders.append(entry.name)
                    unseen += 1
                    continue
                # A folder that we may not write to cannot be moved.
                os.chmod(entry.name, 0o700, dir_fd=folder.descriptor)
            elif (known := files.get(path)) and known.is_state(status):
                continue
            os.rename(entry.name, removed / str(count), src_dir_fd=folder.descriptor)
            count += 1
    if unseen:
        raise OSError("a folder could not be opened")


def _folders_of(paths: Iterable[bytes]) -> set[bytes]:
    """All folders above the paths."""
    found: set[bytes] = set()
    for path in paths:
        while (path := path.rpartition(b"/")[0]) and path not in found:
            found.add(path)
    return found


def _usual_mode(within: Path) -> int:
    """The permissions of a folder that is made here."""
    made = within / "folder"
    made.mkdir()
    mode = stat.S_IMODE(made.stat().st_mode)
    made.rmdir()
    return mode


def _has_attributes(folder: int) -> bool:
    """Whether somebody gave the folder attributes or an access list. The system may give it others, such as labels."""
    return sys.platform == "linux" and any(each.startswith(("user.", "system.")) for each in os.listxattr(folder))


def _size(folder: Path) -> int:
    """The bytes that a kept checkout occupies. It is measured once."""
    noted = folder / _SIZE
    with suppress(OSError, ValueError):
        if noted.exists():
            return int(noted.read_text())
        kept_since = folder.stat().st_mtime_ns
        *_, usage = measure([folder], None)
        noted.write_text(str(usage.allocated))
        os.utime(folder, ns=(kept_since, kept_since))
        return usage.allocated
    return 0
