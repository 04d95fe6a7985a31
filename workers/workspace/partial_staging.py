"""Stages what fits into a diff, for an attempt that was interrupted or failed.

Git could read files for minutes that are too large for a diff, and then nothing would be kept. So files that are larger
than a diff may be are skipped, and if the new files are too large together, the folders with most of them.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

from workers.job import Limits
from workers.repository.access import Access
from workers.repository.git import Git, GitFailed
from workers.repository.trees import fields_of

# Half of a limit. The rest is for the work of earlier sessions, and for the encoding of binary files in a diff.
_SHARE = 2
_NAMED = 100
# A file that was not checked out is compared, if there is one in its place now.
COMPARING_ALL = ("core.sparseCheckout", "true")
_OTHERS = ("ls-files", "--others", "--exclude-standard", "-z")


def stage_tracked(git: Git, checkout: Path, limits: Limits) -> list[str]:
    """Update the files in the index as `git add --update` does. Returns those that do not fit into a diff: they stay as they were.

    Raises what `Git.run` does.
    """
    return [os.fsdecode(path) for path in _stage_tracked(git, checkout, limits.max_diff_bytes // _SHARE)]


def stage_new(git: Git, checkout: Path, limits: Limits, forced: Sequence[bytes] = ()) -> list[str]:
    """Add new files to the index as `git add --all` does, as far as they fit into a diff. Returns what was left out.

    Of the new files and folders at the top, the smallest are kept. `forced` are new files to add although they are ignored.
    Raises what `Git.run` does.
    """
    largest = limits.max_diff_bytes // _SHARE
    large: list[bytes] = []
    new = chain(others(git), forced)
    kept, left_out = _choose(new, checkout, largest, limits.max_diff_files // _SHARE)
    with tempfile.TemporaryFile(dir=git.directory) as paths:
        for path in chain(others(git), forced):
            if _at_top(path) in kept:
                if _size(checkout, path) <= largest:
                    paths.write(path + b"\0")
                elif len(large) < _NAMED:
                    large.append(path)
        paths.seek(0)
        try:
            git.run("update-index", "--add", "-z", "--stdin", stdin=paths)
        except GitFailed as failed:
            # A name that git refuses in a tree ends the command. The files before it are staged.
            left_out.append(f"new files after one whose name git refuses: {failed.errors.strip()[-200:]}".encode())
    return [os.fsdecode(path) for path in (*large, *left_out)]


def _stage_tracked(git: Git, checkout: Path, largest: int) -> list[bytes]:
    """Stage the changes of tracked files. Returns the files that are too large now, whose old content is kept."""
    access = Access(config=(COMPARING_ALL,))
    with closing(git.stream("diff-files", "--name-only", "-z", access=access)) as changed:
        large = [path for path in fields_of(changed) if _size(checkout, path) > largest]
    with tempfile.TemporaryFile(dir=git.directory) as paths:
        paths.write(b"\0".join([b":/", *(b":(top,exclude,literal)" + path for path in large)]))
        paths.seek(0)
        words = ("add", "--update", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul")
        git.run(*words, stdin=paths, access=access)
    return large


def _choose(new: Iterable[bytes], checkout: Path, most_bytes: int, most_files: int) -> tuple[set[bytes], list[bytes]]:
    """Which new files and folders at the top are kept, and which are left out."""
    sizes: dict[bytes, tuple[int, int]] = {}
    for path in new:
        name, own = _at_top(path), _size(checkout, path)
        files, size = sizes.get(name, (0, 0))
        sizes[name] = (files + 1, size + (own if own <= most_bytes else 0))
        if len(sizes) > most_files:
            return set(), [b"all new files"]
    kept, files_left, bytes_left = set(), most_files, most_bytes
    for name, (files, size) in sorted(sizes.items(), key=lambda item: item[1]):
        if files <= files_left and size <= bytes_left:
            kept.add(name)
            files_left, bytes_left = files_left - files, bytes_left - size
    return kept, [name for name in sizes if name not in kept]


def others(git: Git) -> Generator[bytes, None, None]:
    """The files that are neither tracked nor ignored. Raises what `Git.stream` does."""
    with closing(git.stream(*_OTHERS)) as output:
        yield from fields_of(output)


def _at_top(path: bytes) -> bytes:
    """The first part of a path, with its slash if it is a folder."""
    return path[: path.find(b"/") + 1] or path


def _size(checkout: Path, path: bytes) -> int:
    with contextlib.suppress(OSError):
        return os.lstat(os.path.join(os.fsencode(checkout), path)).st_size
    return 0
