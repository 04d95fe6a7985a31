"""Hides from host git what it must not read in an agent's files: repositories, files that block, unreadable files."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workers.safe_walk import Folder, walk

# The longest path of a folder, in bytes. With the path of the checkout before it and a name after it, it stays below
# PATH_MAX (4096), here and on the host of the next session.
_LONGEST_PATH, _LONGEST_NAME = 3072, 255
# Git reads these files whole and keeps those of all parent folders, so a few sparse files could use all memory.
# The largest repositories have some kilobytes in one, and less than a megabyte in all of them.
_READ_WHOLE = frozenset((".gitignore", ".gitattributes", ".gitmodules"))
_LARGEST_READ_WHOLE = 1024**2
_MOST_READ_WHOLE = 16 * 1024**2
_NAMED = 1000
WHITEOUT = os.makedev(0, 0)
"""The device that is in the place of what is gone."""
# Names that git refuses in any tree, because some systems treat them as `.git`: Windows (is_ntfs_dotgit in git's path.c),
# and macOS, which takes no notice of some characters (next_hfs_char in git's utf8.c).
_REFUSED = re.compile(r"(?:^|.*\\)(?:\.git|git~1)[. ]*(?:[:\\].*)?", re.IGNORECASE | re.DOTALL)
_IGNORED_BY_MACOS = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])


@dataclass
class Hidden:
    """Paths in the agent's work that git cannot track, at most a thousand of each kind.

    `left_out` cannot be in a diff. `repositories` are the folders of nested repositories, whose history cannot be in a
    diff. `files` is the number of the other files.
    """

    left_out: list[str] = field(default_factory=list)
    repositories: set[str] = field(default_factory=set)
    files: int = 0


@contextlib.contextmanager
def hidden(checkout: Path, aside: Path, *, has_whiteouts: bool = False) -> Iterator[Hidden]:
    """Move what git must not read in `checkout` into `aside` while the context is open, and move it back afterwards.

    Each `.git` is moved, so that git never uses a repository of the agent's, and so are other names that git refuses.
    A `.gitmodules` that is a link is moved, because git would stage it and then refuse the diff. Pipes, sockets and
    devices are moved, because git would block for ever on a `.gitignore` that is a pipe. Folders that are too deep for
    git are moved, and ignore rules and attributes that are too large. The whiteouts of an overlay (`has_whiteouts`)
    stay: our index has no file of their names, and git takes no notice of other devices.

    No process of the agent may be running. Raises OSError.
    """
    scan = _Scan(has_whiteouts)
    with moved_aside(checkout, aside, scan.untrackable):
        yield scan.found


@contextlib.contextmanager
def moved_aside(checkout: Path, aside: Path, choose: Callable[[Folder], Iterable[str]]) -> Iterator[None]:
    """Move what `choose` names of each folder in `checkout` into `aside` while the context is open, and then back.

    `choose` gets the open folder and adds its folders to the walk. No process of the agent may be running. Raises OSError.
    """
    aside.mkdir(mode=0o700, exist_ok=True)
    moved: list[tuple[Folder, str]] = []
    try:
        for folder in walk(checkout, force=True):
            for name in choose(folder):
                os.rename(name, aside / str(len(moved)), src_dir_fd=folder.descriptor)
                moved.append((folder, name))
        yield
    finally:
        _restore(checkout, aside, moved)


def _restore(checkout: Path, aside: Path, moved: list[tuple[Folder, str]]) -> None:
    # No moved path is inside another one, so any order works.
    with contextlib.suppress(OSError):
        top = os.open(checkout, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for number, (folder, name) in enumerate(moved):
                with contextlib.suppress(OSError):
                    os.rename(aside / str(number), folder.path_of(name), dst_dir_fd=top)
        finally:
            os.close(top)


def is_too_long(path: bytes) -> bool:
    """Whether the file is hidden because of its depth, or has a name that no file system can store."""
    return path.rfind(b"/") > _LONGEST_PATH or any(len(name) > _LONGEST_NAME for name in path.split(b"/"))


class _Scan:
    """Finds what git must not read."""

    def __init__(self, has_whiteouts: bool) -> None:
        self._has_whiteouts = has_whiteouts
        self.found = Hidden()
        self._read_whole = 0

    def untrackable(self, folder: Folder) -> list[str]:
        """The names to hide in an open folder. The rest is made readable, and its folders are added to the walk."""
        names = []
        with os.scandir(folder.descriptor) as entries:
            for entry in entries:
                _permit(folder, entry)
                if entry.name == ".git":
                    names.append(entry.name)
                    self._note_repository(folder)
                elif _is_special(entry):
                    if not (self._has_whiteouts and is_whiteout(entry)):
                        names.append(entry.name)
                elif _is_refused(entry) or self._is_too_large(folder, entry):
                    names.append(entry.name)
                    if len(self.found.left_out) < _NAMED:
                        self.found.left_out.append(folder.path_of(entry.name))
                elif entry.is_dir(follow_symlinks=False):
                    folder.subfolders.append(entry.name)
                else:
                    self.found.files += 1
        return names

    def _note_repository(self, folder: Folder) -> None:
        if folder.parent and len(self.found.repositories) < _NAMED:
            self.found.repositories.add(folder.path)

    def _is_too_large(self, folder: Folder, entry: os.DirEntry[str]) -> bool:
        if entry.is_dir(follow_symlinks=False):
            return folder.length_of(entry.name) > _LONGEST_PATH
        if entry.name.lower() not in _READ_WHOLE or entry.is_symlink():
            return False
        size = entry.stat(follow_symlinks=False).st_size
        self._read_whole += min(size, _LARGEST_READ_WHOLE)
        return size > _LARGEST_READ_WHOLE or self._read_whole > _MOST_READ_WHOLE


def _is_special(entry: os.DirEntry[str]) -> bool:
    """Whether it is a pipe, a socket or a device."""
    return not (entry.is_symlink() or entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False))


def is_whiteout(entry: os.DirEntry[str]) -> bool:
    """Whether it marks in the upper layer of an overlay that something of the lower one is gone."""
    status = entry.stat(follow_symlinks=False)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == WHITEOUT


def _is_refused(entry: os.DirEntry[str]) -> bool:
    plain = entry.name.translate(_IGNORED_BY_MACOS)
    return bool(_REFUSED.fullmatch(plain)) or (plain.lower() == ".gitmodules" and entry.is_symlink())


def _permit(folder: Folder, entry: os.DirEntry[str]) -> None:
    """Make a file readable, or a folder movable, if its mode prevents that. We own it; root needs no permission."""
    if not os.geteuid() or entry.is_symlink():
        return
    with contextlib.suppress(OSError):
        mode = entry.stat(follow_symlinks=False).st_mode
        wanted = stat.S_IRWXU if stat.S_ISDIR(mode) else stat.S_IRUSR
        if mode & wanted != wanted:
            os.chmod(entry.name, stat.S_IMODE(mode) | wanted, dir_fd=folder.descriptor)
