"""Making an agent's files fit to be read by git: no pretended repositories, nothing that blocks, nothing unreadable."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def hidden(checkout: Path, aside: Path) -> Iterator[None]:
    """While open, what git must not meet in `checkout` lies in `aside`; afterwards it is back in its place.

    Each `.git` goes, so that a nested repository counts as plain files, a submodule keeps the commit that its
    repository records for it, and nothing of the agent's is ever taken for a repository. So does a `.gitmodules` that
    is a link: git would take it in the place of a file, and then refuse the diff that holds it. So do pipes, sockets
    and devices: git would wait for ever for a `.gitignore` that is a pipe. The agent is not running.
    """
    aside.mkdir(mode=0o700, exist_ok=True)
    moved: list[tuple[str, Path]] = []
    try:
        for number, path in enumerate(_unfit(checkout)):
            place = aside / str(number)
            os.rename(path, place)
            moved.append((path, place))
        yield
    finally:
        for path, place in reversed(moved):
            with contextlib.suppress(OSError):
                os.rename(place, path)


def _unfit(checkout: Path) -> Iterator[str]:
    """Each path that is to be hidden, after the rest of its folder was looked at; folders are made readable."""
    folders = [str(checkout)]
    while folders:
        folder = folders.pop()
        for entry in entries(folder):
            name = entry.name.lower()
            if name == ".git" or (name == ".gitmodules" and entry.is_symlink()):
                _permit(entry)
                yield entry.path
            elif entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                _permit(entry)
            else:
                yield entry.path


def entries(folder: str) -> list[os.DirEntry[str]]:
    """What lies in `folder`; nothing where it cannot be read at all, as with a path that is too long for the system."""
    with contextlib.suppress(OSError):
        if os.geteuid():
            os.chmod(folder, stat.S_IMODE(os.lstat(folder).st_mode) | stat.S_IRWXU)
        with os.scandir(folder) as found:
            return list(found)
    return []


def _permit(entry: os.DirEntry[str]) -> None:
    """Let us read a file, or move a folder, that its owner, which is us, made unreadable. Root needs no leave."""
    if not os.geteuid() or entry.is_symlink():
        return
    with contextlib.suppress(OSError):
        mode = entry.stat(follow_symlinks=False).st_mode
        wanted = stat.S_IRWXU if stat.S_ISDIR(mode) else stat.S_IRUSR
        if mode & wanted != wanted:
            os.chmod(entry.path, stat.S_IMODE(mode) | wanted)
