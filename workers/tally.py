"""Counting what an attempt takes up on the disk while it runs: files with a name, and open ones that have none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.supervisor import descendants
from workers.walk import walk

_MANY = 100
_BLOCK = 512


@dataclass
class Found:
    """What has been counted: files and folders, the bytes that they take up, and the size of the largest."""

    files: int = 0
    allocated: int = 0
    largest: int = 0
    complete: bool = False


def tally(folders: Sequence[Path], supervisor: int | None) -> Iterator[Found]:
    """Count what lies in `folders`, and what processes below `supervisor` hold open that was removed from there.

    Yields again and again what it has so far, which is the same object each time, and at last all of it.
    """
    found = Found()
    yield from _count_nameless(folders, descendants(supervisor) if supervisor else (), found)
    for top in folders:
        with contextlib.suppress(OSError):
            for folder in walk(top):
                yield from _count_named(folder.descriptor, found, folder.inner)
    found.complete = True
    yield found


def _count_named(folder: int, found: Found, inner: list[str]) -> Iterator[Found]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for number, entry in enumerate(entries, 1):
            found.files += 1
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    inner.append(entry.name)
                else:
                    status = entry.stat(follow_symlinks=False)
                    # A file of several names is met under each of them.
                    found.allocated += status.st_blocks * _BLOCK // max(status.st_nlink, 1)
                    found.largest = max(found.largest, status.st_size)
            if number % _MANY == 0:
                yield found
    yield found


def _count_nameless(folders: Iterable[Path], processes: Iterable[int], found: Found) -> Iterator[Found]:
    """Count the files on the file systems of `folders` that have lost their last name, but not those who use them."""
    systems = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            systems.add(os.lstat(folder).st_dev)
    seen = set()
    for pid in processes:
        # A process may end meanwhile. Those of another user's are shown to root only.
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:
            for number, descriptor in enumerate(descriptors, 1):
                with contextlib.suppress(OSError):
                    status = os.stat(descriptor.path)
                    place = status.st_dev, status.st_ino
                    if status.st_nlink == 0 and status.st_dev in systems and place not in seen:
                        seen.add(place)
                        found.files += 1
                        found.allocated += status.st_blocks * _BLOCK
                if number % _MANY == 0:
                    yield found
        yield found
