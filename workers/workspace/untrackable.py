"""Making an agent's files fit to be read by git: no pretended repositories, nothing that blocks, nothing unreadable."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workers.safe_walk import Folder, walk

# Of a folder, in bytes. With the path of the checkout before it and a name after it the system still takes such a path
# (PATH_MAX is 4096), whoever puts it together, here or on the machine of the next session.
_LONGEST_PATH = 3072
# Git reads these whole and keeps those of all folders around a file, so that a few sparse ones would take all memory.
# The largest repositories have some kilobytes in one, and less than a megabyte in all of them.
_READ_WHOLE = frozenset((".gitignore", ".gitattributes", ".gitmodules"))
_LARGEST_READ_WHOLE = 1024**2
_MOST_READ_WHOLE = 16 * 1024**2
_NAMED = 1000
# Names that git puts into no tree, as there are systems which take them for `.git` (is_ntfs_dotgit in git's path.c).
_REFUSED = re.compile(r"(?:^|.*\\)(?:\.git|git~1)[. ]*(?:[:\\].*)?", re.IGNORECASE | re.DOTALL)


@dataclass
class Hidden:
    """What was met of the agent's work that git cannot track, by its paths, a thousand of each at most.

    `left_out` is lost to a diff. `repositories` are the folders of nested repositories, whose history is. `files` is how
    many files there are beside those.
    """

    left_out: list[str] = field(default_factory=list)
    repositories: set[str] = field(default_factory=set)
    files: int = 0


@contextlib.contextmanager
def hidden(checkout: Path, aside: Path) -> Iterator[Hidden]:
    """While open, what git must not meet in `checkout` lies in `aside`; afterwards it is back in its place.

    Each `.git` goes, so that nothing of the agent's is ever taken for a repository, and so do other names that git
    refuses. So does a `.gitmodules` that is a link: git would take it in the place of a file, and then refuse the diff
    that holds it. So do pipes, sockets and devices: git would wait for ever for a `.gitignore` that is a pipe. The agent
    is not running.

    Folders that lie too deep for git go too, and ignore rules and attributes that are too large for it. Raises OSError.
    """
    aside.mkdir(mode=0o700, exist_ok=True)
    sieve = _Sieve()
    moved: list[tuple[Folder, str]] = []
    try:
        for folder in walk(checkout, force=True):
            for name in sieve.unfit(folder):
                os.rename(name, aside / str(len(moved)), src_dir_fd=folder.descriptor)
                moved.append((folder, name))
        yield sieve.found
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
        self.found = Hidden()
        self._read_whole = 0

    def unfit(self, folder: Folder) -> list[str]:
        """What is to be hidden of an open folder, by name; the rest is made readable, and walked through."""
        unfit = []
        with os.scandir(folder.descriptor) as entries:
            for entry in entries:
                _permit(folder, entry)
                if entry.name == ".git":
                    unfit.append(entry.name)
                    self._note_repository(folder)
                elif _is_of_no_kind(entry):
                    unfit.append(entry.name)
                elif _is_refused(entry) or self._is_too_much(folder, entry):
                    unfit.append(entry.name)
                    if len(self.found.left_out) < _NAMED:
                        self.found.left_out.append(folder.path_of(entry.name))
                elif entry.is_dir(follow_symlinks=False):
                    folder.subfolders.append(entry.name)
                else:
                    self.found.files += 1
        return unfit

    def _note_repository(self, folder: Folder) -> None:
        if folder.parent and len(self.found.repositories) < _NAMED:
            self.found.repositories.add(folder.path)

    def _is_too_much(self, folder: Folder, entry: os.DirEntry[str]) -> bool:
        if entry.is_dir(follow_symlinks=False):
            return folder.length_of(entry.name) > _LONGEST_PATH
        if entry.name.lower() not in _READ_WHOLE or entry.is_symlink():
            return False
        size = entry.stat(follow_symlinks=False).st_size
        self._read_whole += min(size, _LARGEST_READ_WHOLE)
        return size > _LARGEST_READ_WHOLE or self._read_whole > _MOST_READ_WHOLE


def _is_of_no_kind(entry: os.DirEntry[str]) -> bool:
    """Whether it is a pipe, a socket or a device."""
    return not (entry.is_symlink() or entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False))


def _is_refused(entry: os.DirEntry[str]) -> bool:
    return bool(_REFUSED.fullmatch(entry.name)) or (entry.name.lower() == ".gitmodules" and entry.is_symlink())


def _permit(folder: Folder, entry: os.DirEntry[str]) -> None:
    """Let us read a file, or move a folder, that its owner, which is us, made unreadable. Root needs no leave."""
    if not os.geteuid() or entry.is_symlink():
        return
    with contextlib.suppress(OSError):
        mode = entry.stat(follow_symlinks=False).st_mode
        wanted = stat.S_IRWXU if stat.S_ISDIR(mode) else stat.S_IRUSR
        if mode & wanted != wanted:
            os.chmod(entry.name, stat.S_IMODE(mode) | wanted, dir_fd=folder.descriptor)
