"""Measures the disk usage of a running attempt: files with a name, and open files that were deleted."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.processes.descendants import descendants
from workers.safe_walk import Folder, is_unreadable, make_readable, temporarily_readable, walk

_MANY = 100
_BLOCK = 512


@dataclass
class DiskUsage:
    """The number of files and folders, the bytes that they occupy, and the size of the largest file.

    `memory` is the bytes of files in memory (memfd_create(2)): the resident memory of a process does not include them
    unless it has mapped them.
    """

    files: int = 0
    allocated: int = 0
    largest: int = 0
    memory: int = 0
    complete: bool = False


def measure(folders: Sequence[Path], supervisor: int | None) -> Iterator[DiskUsage]:
    """Count the files in `folders`, and deleted files that processes below `supervisor` still have open.

    Yields the same object repeatedly while it counts, and at last with `complete` set.
    """
    found = DiskUsage()
    yield from _count_nameless(folders, descendants(supervisor) if supervisor else (), found)
    for top in folders:
        with contextlib.suppress(OSError):
            if is_unreadable(os.lstat(top)):
                yield from _count_hidden(top, None, found)
            else:
                for folder in walk(top):
                    yield from _count_named(folder, found)
    found.complete = True
    yield found


def _count_hidden(name: str | Path, within: int | None, found: DiskUsage) -> Iterator[DiskUsage]:
    """Count the files in a folder whose mode keeps us out, although the agent may write to it."""
    with contextlib.suppress(OSError), temporarily_readable(name, within) as path:
        for folder in walk(path):
            yield from _count_named(folder, found, is_inner=True)


def _count_named(folder: Folder, found: DiskUsage, *, is_inner: bool = False) -> Iterator[DiskUsage]:
    """Count the files in `folder`. A hidden folder inside a hidden one stays revealed: no test suite uses those."""
    with contextlib.suppress(OSError), os.scandir(folder.descriptor) as entries:
        for number, entry in enumerate(entries, 1):
            found.files += 1
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if is_unreadable(status) and not is_inner:
                    yield from _count_hidden(entry.name, folder.descriptor, found)
                elif stat.S_ISDIR(status.st_mode):
                    if is_unreadable(status):
                        make_readable(entry.name, folder.descriptor)
                    folder.subfolders.append(entry.name)
                else:
                    # A file with several names is counted in parts, once under each name.
                    found.allocated += status.st_blocks * _BLOCK // max(status.st_nlink, 1)
                    found.largest = max(found.largest, status.st_size)
            if number % _MANY == 0:
                yield found
    yield found


def _count_nameless(folders: Iterable[Path], processes: Iterable[int], found: DiskUsage) -> Iterator[DiskUsage]:
    """Count open files without a name: deleted ones on the file systems of `folders`, and files in memory."""
    systems = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            systems.add(os.lstat(folder).st_dev)
    seen = set()
    for number, pid in enumerate(processes):
        if number == 0:
            systems.update(_overlays(pid))
        # A process may end meanwhile. Only root may read the descriptors of another user's process.
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:
            for count, descriptor in enumerate(descriptors, 1):
                with contextlib.suppress(OSError):
                    status = os.stat(descriptor.path)
                    place = status.st_dev, status.st_ino
                    if status.st_nlink == 0 and place not in seen:
                        seen.add(place)
                        if status.st_dev in systems:
                            found.files += 1
                            found.allocated += status.st_blocks * _BLOCK
                        elif os.readlink(descriptor.path).startswith("/memfd:"):
                            found.memory += status.st_blocks * _BLOCK
                if count % _MANY == 0:
                    yield found
        yield found


def _overlays(pid: int) -> Iterator[int]:
    """The devices of the overlays that `system_calls.mount_overlay` mounted for a process. Files in them have these."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/mountinfo", "rb") as mounts:
        for line in mounts:
            if b" overlay " in line and b",upperdir=/proc/self/fd/" in line:
                major, minor = line.split()[2].split(b":")
                yield os.makedev(int(major), int(minor))
