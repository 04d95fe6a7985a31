"""Going through all folders below one, however deep they lie, and whatever is moved about meanwhile.

Paths will not do: one that is longer than the system takes can be made all the same, step by step, and nothing below
would be seen. So each folder is opened from the one that holds it, and only one is open at a time.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# What it takes to list a folder, and to look at what is in it.
_SEEN = stat.S_IRUSR | stat.S_IXUSR


class Folder:
    """A folder that a walk has come to. What of it is to be walked through too, its reader adds to `inner`.

    `descriptor` is open until the walk goes on. `length` is that of `path` in bytes.
    """

    __slots__ = ("above", "descriptor", "inner", "length", "name", "place")

    def __init__(self, name: str, above: Folder | None, descriptor: int) -> None:
        self.name = name
        self.above = above
        self.descriptor = descriptor
        self.inner: list[str] = []
        self.length: int = above.length_of(name) if above else 0
        self.place = _place(descriptor)

    @property
    def path(self) -> str:
        """The way from the top of the walk to here; empty for the top itself."""
        return "/".join(each.name for each in self.trail()[1:])

    def path_of(self, name: str) -> str:
        """The path of what lies in this folder."""
        return f"{self.path}/{name}" if self.above else name

    def length_of(self, name: str) -> int:
        """The length of `path_of`, in bytes, without making it."""
        return self.length + bool(self.above) + len(os.fsencode(name))

    def trail(self) -> list[Folder]:
        """The folders from the top of the walk to this one."""
        trail: list[Folder] = []
        each: Folder | None = self
        while each:
            trail.append(each)
            each = each.above
        return trail[::-1]


def walk(top: str | Path, *, by_force: bool = False) -> Iterator[Folder]:
    """`top`, and then every folder that was added to the `inner` of the one before it.

    Links are never followed. A folder that cannot be opened is passed over, as is what is moved away meanwhile;
    `by_force` makes those readable that are ours and leaves them so, for when nothing of the agent's runs. Raises
    OSError where `top` cannot be opened.
    """
    folder = Folder("", None, _opened(top, None, by_force))
    try:
        yield folder
        while folder.inner or folder.above:
            left = folder.descriptor
            if folder.inner:
                name = folder.inner.pop()
                try:
                    folder = Folder(name, folder, _opened(name, left, by_force))
                except OSError:
                    continue
                os.close(left)
                yield folder
            else:
                folder = _above(folder, top)
                os.close(left)
    finally:
        os.close(folder.descriptor)


def is_hidden(status: os.stat_result) -> bool:
    """Whether what is described is a folder of ours that its mode keeps from us. Root needs no leave."""
    mode = status.st_mode
    return stat.S_ISDIR(mode) and mode & _SEEN != _SEEN and 0 < os.geteuid() == status.st_uid


@contextlib.contextmanager
def revealed(name: str | Path, within: int | None = None) -> Iterator[str]:
    """A path to a hidden folder, which can be read as long as the context is open.

    It is for while the agent runs, which is of our user then, and may want that mode for a test of its own: the mode is
    put back unless it was changed meanwhile. Raises OSError where it cannot be done.
    """
    with _held(name, within) as path:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        os.chmod(path, mode | stat.S_IRWXU)
        try:
            # With the dot it is no link.
            yield f"{path}/."
        finally:
            if stat.S_IMODE(os.stat(path).st_mode) == mode | stat.S_IRWXU:
                os.chmod(path, mode)


def reveal(name: str, within: int) -> None:
    """Make a hidden folder readable for good. Raises OSError where it cannot be done."""
    with _held(name, within) as path:
        os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) | stat.S_IRWXU)


@contextlib.contextmanager
def _held(name: str | Path, within: int | None) -> Iterator[str]:
    """A link that leads to that very folder, whatever takes its place meanwhile; a link is none (open(2), O_PATH)."""
    handle = os.open(name, os.O_PATH | _FOLDER, dir_fd=within)
    try:
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def _above(folder: Folder, top: str | Path) -> Folder:
    """The folder that holds `folder`, open again; where that is no longer in its place, the nearest one that is."""
    assert folder.above
    with contextlib.suppress(OSError):
        descriptor = os.open("..", _FOLDER, dir_fd=folder.descriptor)
        if _place(descriptor) == folder.above.place:
            folder.above.descriptor = descriptor
            return folder.above
        os.close(descriptor)
    nearest, *below = folder.above.trail()
    nearest.descriptor = os.open(top, _FOLDER)
    for each in below:
        try:
            descriptor = os.open(each.name, _FOLDER, dir_fd=nearest.descriptor)
        except OSError:
            break
        if _place(descriptor) != each.place:
            os.close(descriptor)
            break
        os.close(nearest.descriptor)
        nearest, each.descriptor = each, descriptor
    return nearest


def _opened(name: str | Path, within: int | None, by_force: bool) -> int:
    # Root needs no leave.
    if by_force and os.geteuid():
        mode = os.stat(name, dir_fd=within, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(name, stat.S_IMODE(mode) | stat.S_IRWXU, dir_fd=within)
    return os.open(name, _FOLDER, dir_fd=within)


def _place(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
