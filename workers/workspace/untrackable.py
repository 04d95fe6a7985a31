"""Making an agent's files fit to be read by git: no pretended repositories, nothing that blocks, nothing unreadable."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from workers.safe_walk import Folder, walk

# Of a folder, in bytes. With the path of the checkout before it and a name after it the system still takes such a path
# (PATH_MAX is 4096), whoever puts it together, here or on the machine of the next session.
_LONGEST_PATH = 3072
# Git reads these whole and keeps those of all folders around a file, so that a few sparse ones would take all memory.
# The largest repositories have some kilobytes in one, and less than a megabyte in all of them.
_READ_WHOLE = frozenset((".gitignore", ".gitattributes"))
_LARGEST_READ_WHOLE = 1024**2
_MOST_READ_WHOLE = 16 * 1024**2
_NAMED = 1000


@contextlib.contextmanager
def hidden(checkout: Path, aside: Path) -> Iterator[list[str]]:
    """While open, what git must not meet in `checkout` lies in `aside`; afterwards it is back in its place.

    Each `.git` goes, so that a nested repository counts as plain files, a submodule keeps the commit that its
    repository records for it, and nothing of the agent's is ever taken for a repository. So does a `.gitmodules` that
    is a link: git would take it in the place of a file, and then refuse the diff that holds it. So do pipes, sockets
    and devices: git would wait for ever for a `.gitignore` that is a pipe. The agent is not running.

    Folders that lie too deep for git go too, and ignore rules and attributes that are too large for it. Those are work
    of the agent's that is left out: their paths, or a thousand of them, are what the context gives. Raises OSError.
    """
    aside.mkdir(mode=0o700, exist_ok=True)
    sieve = _Sieve()
    moved: list[tuple[Folder, str]] = []
    try:
        for folder in walk(checkout, by_force=True):
            for name in sieve.unfit(folder):
                os.rename(name, aside / str(len(moved)), src_dir_fd=folder.descriptor)
                moved.append((folder, name))
        yield sieve.left_out
    finally:
        _put_back(checkout, aside, moved)


def _put_back(checkout: Path, aside: Path, moved: list[tuple[Folder, str]]) -> None:
    # Nothing that was moved lies in something else that was, so any order will do.
    with contextlib.suppress(OSError):
        top = os.open(checkout, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for number, (folder, name) in enumerate(moved):
                with contextlib.suppress(OSError):
                    os.rename(aside / str(number), folder.path_of(name), dst_dir_fd=top)
        finally:
            os.close(top)


class _Sieve:
    """Tells what git must not meet from the rest."""

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self._read_whole = 0

    def unfit(self, folder: Folder) -> list[str]:
        """What is to be hidden of an open folder, by name; the rest is made readable, and walked through."""
        unfit = []
        with os.scandir(folder.descriptor) as entries:
            for entry in entries:
                _permit(folder, entry)
                if _is_nothing_to_track(entry):
                    unfit.append(entry.name)
                elif self._is_too_much(folder, entry):
                    unfit.append(entry.name)
                    if len(self.left_out) < _NAMED:
                        self.left_out.append(folder.path_of(entry.name))
                elif entry.is_dir(follow_symlinks=False):
                    folder.inner.append(entry.name)
        return unfit

    def _is_too_much(self, folder: Folder, entry: os.DirEntry[str]) -> bool:
        if entry.is_dir(follow_symlinks=False):
            return folder.length_of(entry.name) > _LONGEST_PATH
        if entry.name.lower() not in _READ_WHOLE or entry.is_symlink():
            return False
        size = entry.stat(follow_symlinks=False).st_size
        self._read_whole += min(size, _LARGEST_READ_WHOLE)
        return size > _LARGEST_READ_WHOLE or self._read_whole > _MOST_READ_WHOLE


def _is_nothing_to_track(entry: os.DirEntry[str]) -> bool:
    name = entry.name.lower()
    if name == ".git" or entry.is_symlink():
        return name in (".git", ".gitmodules")
    return not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False)


def _permit(folder: Folder, entry: os.DirEntry[str]) -> None:
    """Let us read a file, or move a folder, that its owner, which is us, made unreadable. Root needs no leave."""
    if not os.geteuid() or entry.is_symlink():
        return
    with contextlib.suppress(OSError):
        mode = entry.stat(follow_symlinks=False).st_mode
        wanted = stat.S_IRWXU if stat.S_ISDIR(mode) else stat.S_IRUSR
        if mode & wanted != wanted:
            os.chmod(entry.name, stat.S_IMODE(mode) | wanted, dir_fd=folder.descriptor)
