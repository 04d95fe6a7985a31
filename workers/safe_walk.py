"""Walk a folder tree of any depth safely, even while its folders are moved.

Paths are not enough: a tree can be deeper than the longest path that the system accepts, and everything below would be
missed. So each folder is opened relative to its parent, and only one is open at a time.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# The permissions needed to list a folder and to look at its entries.
_READABLE = stat.S_IRUSR | stat.S_IXUSR


class Folder:
    """A folder that the walk has reached. The caller adds the names of subfolders to walk to `subfolders`.

    `descriptor` is open until the walk continues. `length` is the length of `path` in bytes.
    """

    __slots__ = ("descriptor", "identity", "length", "name", "parent", "subfolders")

    def __init__(self, name: str, parent: Folder | None, descriptor: int) -> None:
        self.name = name
        self.parent = parent
        self.descriptor = descriptor
        self.subfolders: list[str] = []
        self.length: int = parent.length_of(name) if parent else 0
        self.identity = _identity(descriptor)

    @property
    def path(self) -> str:
        """The path relative to the top of the walk; empty for the top itself."""
        return "/".join(each.name for each in self.chain()[1:])

    def path_of(self, name: str) -> str:
        """The path of an entry of this folder."""
        return f"{self.path}/{name}" if self.parent else name

    def length_of(self, name: str) -> int:
        """The length of `path_of(name)` in bytes, without building it."""
        return self.length + bool(self.parent) + len(os.fsencode(name))

    def chain(self) -> list[Folder]:
        """The folders from the top of the walk to this one, both included."""
        chain: list[Folder] = []
        each: Folder | None = self
        while each:
            chain.append(each)
            each = each.parent
        return chain[::-1]


def walk(top: str | Path, *, force: bool = False) -> Iterator[Folder]:
    """`top`, then every folder whose name the caller adds to `subfolders` of its parent.

    Links are never followed. A folder that cannot be opened or was moved is skipped. `force` makes unreadable folders
    of our user readable for good; use it only while no process of the agent runs. Raises OSError if `top` cannot be
    opened.
    """
    folder = Folder("", None, _open(top, None, force))
    try:
        yield folder
        while folder.subfolders or folder.parent:
            previous = folder.descriptor
            if folder.subfolders:
                name = folder.subfolders.pop()
                try:
                    folder = Folder(name, folder, _open(name, previous, force))
                except OSError:
                    continue
                os.close(previous)
                yield folder
            else:
                folder = _reopen_parent(folder, top)
                os.close(previous)
    finally:
        os.close(folder.descriptor)


def is_unreadable(status: os.stat_result) -> bool:
    """Whether this is a folder of our user whose mode denies us access. Root always has access."""
    mode = status.st_mode
    return stat.S_ISDIR(mode) and mode & _READABLE != _READABLE and 0 < os.geteuid() == status.st_uid


@contextlib.contextmanager
def temporarily_readable(name: str | Path, within: int | None = None) -> Iterator[str]:
    """A path to an unreadable folder that can be read while the context is open.

    For use while the agent runs as our user: the agent may need that mode, so it is restored unless it was changed in
    the meantime. Raises OSError if the mode cannot be changed.
    """
    with _pinned(name, within) as path:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        os.chmod(path, mode | stat.S_IRWXU)
        try:
            # The dot makes the path name the folder instead of the link.
            yield f"{path}/."
        finally:
            if stat.S_IMODE(os.stat(path).st_mode) == mode | stat.S_IRWXU:
                os.chmod(path, mode)


def make_readable(name: str, within: int) -> None:
    """Make an unreadable folder readable for good. Raises OSError if the mode cannot be changed."""
    with _pinned(name, within) as path:
        os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) | stat.S_IRWXU)


@contextlib.contextmanager
def _pinned(name: str | Path, within: int | None) -> Iterator[str]:
    """A path that keeps leading to this folder even if it is replaced. Raises OSError for a link (open(2), O_PATH)."""
    handle = os.open(name, os.O_PATH | _FOLDER, dir_fd=within)
    try:
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def _reopen_parent(folder: Folder, top: str | Path) -> Folder:
    """Reopen the parent of `folder`; if that was moved, its nearest ancestor that was not."""
    assert folder.parent
    with contextlib.suppress(OSError):
        descriptor = os.open("..", _FOLDER, dir_fd=folder.descriptor)
        if _identity(descriptor) == folder.parent.identity:
            folder.parent.descriptor = descriptor
            return folder.parent
        os.close(descriptor)
    nearest, *below = folder.parent.chain()
    nearest.descriptor = os.open(top, _FOLDER)
    for each in below:
        try:
            descriptor = os.open(each.name, _FOLDER, dir_fd=nearest.descriptor)
        except OSError:
            break
        if _identity(descriptor) != each.identity:
            os.close(descriptor)
            break
        os.close(nearest.descriptor)
        nearest, each.descriptor = each, descriptor
    return nearest


def _open(name: str | Path, within: int | None, force: bool) -> int:
    # Root has access to every folder.
    if force and os.geteuid():
        mode = os.stat(name, dir_fd=within, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(name, stat.S_IMODE(mode) | stat.S_IRWXU, dir_fd=within)
    return os.open(name, _FOLDER, dir_fd=within)


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
