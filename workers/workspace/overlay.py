"""A checkout of two layers (overlayfs): below the files of the base, which no one writes to; above them what a session did.

The kernel keeps in the upper layer every file that was written, with its whole path; a device 0:0 where something of the
base is gone (a whiteout); and with a folder, in attributes that only root sees, that it shows nothing of the base
(opaque), or that it was moved and shows another folder of the base (a redirect).

Everything here runs while no process of the agent does. The kernel alone makes the attributes and the whiteouts: in the
sandbox no one may, so they can be relied on. Names, links and depths are the agent's, as anywhere in its files.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from workers.repository.objects import Entry
from workers.repository.trees import TreePaths
from workers.safe_walk import Folder, walk
from workers.sandbox.base import Overlay
from workers.workspace.submodules import kind_of
from workers.workspace.untrackable import WHITEOUT, is_whiteout

_OPAQUE, _REDIRECT = "trusted.overlay.opaque", "trusted.overlay.redirect"
_IGNORE_RULES, _SUBMODULES = ".gitignore", ".gitmodules"
_REPOSITORY = ".git"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class Touched:
    """What a session touched, by path: folders, files and links, what is gone of the base, and folders that show nothing
    of the base."""

    folders: list[bytes] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)
    gone: list[bytes] = field(default_factory=list)
    replaced: list[bytes] = field(default_factory=list)

    def entries(self, tree: TreePaths) -> tuple[dict[bytes, Entry], dict[bytes, Entry]]:
        """The files of a tree that are touched, and those of them that are gone. All other files are as in the tree."""
        found: dict[bytes, Entry] = {}
        for path in self.folders:
            entry = tree.entry(path)
            if entry and not entry.is_tree:
                found[path] = entry
        for path in (*self.files, *self.replaced):
            found.update(tree.files_at(path))
        gone: dict[bytes, Entry] = {}
        for path in self.gone:
            gone.update(tree.files_at(path))
        return found | gone, gone


def scan(overlay: Overlay) -> Touched:
    """Everything in the upper layer, except the repository at its top.

    Moved folders become folders of their own, with all of their files. Ignore rules that apply in a touched folder are
    copied into it. So git finds in the upper layer all that it needs. Raises OSError.
    """
    touched = Touched()
    shown: dict[Folder, _Shown] = {}
    moved: set[str] = set()
    for folder in walk(overlay.upper):
        base, is_in_place = shown[folder] = _shown_in(overlay, folder, shown)
        if folder.parent:
            (touched.folders if is_in_place else touched.replaced).append(os.fsencode(folder.path))
        with os.scandir(folder.descriptor) as entries:
            listed = list(entries)
            found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in listed}
            gone = {entry.name for entry in listed if not entry.is_file(follow_symlinks=False) and is_whiteout(entry)}
        if base is not None:
            found |= _complete(overlay, folder, base, found, is_whole=not is_in_place)
        if not is_in_place and _attribute(folder.descriptor, _REDIRECT) is not None:
            moved.add(folder.path)
        for name, is_folder in found.items():
            if not folder.parent and name == _REPOSITORY:
                continue
            if is_folder:
                folder.subfolders.append(name)
            else:
                (touched.gone if name in gone else touched.files).append(os.fsencode(folder.path_of(name)))
    if moved:
        _detach(overlay, moved)
    return touched


class _Shown(NamedTuple):
    """Which folder of the base shows in a folder of the upper layer, by its path; and whether it shows where it is in the
    base, with all folders above."""

    base: str | None
    is_in_place: bool


def _shown_in(overlay: Overlay, folder: Folder, shown: dict[Folder, _Shown]) -> _Shown:
    if folder.parent is None:
        return _Shown("", True)
    above = shown[folder.parent]
    if _attribute(folder.descriptor, _OPAQUE) == b"y":
        return _Shown(None, False)
    redirect = _attribute(folder.descriptor, _REDIRECT)
    target = folder.name if redirect is None else os.fsdecode(redirect)
    if target.startswith("/"):
        base: str | None = target[1:]
    else:
        base = None if above.base is None else _join(above.base, target)
    is_in_place = above.is_in_place and (redirect is None or base == folder.path)
    if base is not None and kind_of(overlay.lower, os.fsencode(base)) != stat.S_IFDIR:
        base = None
    return _Shown(base, is_in_place)


def _complete(overlay: Overlay, folder: Folder, base: str, found: Container[str], *, is_whole: bool) -> dict[str, bool]:
    """Copy what is needed of the base's folder: all that shows, or the rules that git reads. Returns what was copied, and
    whether it is a folder."""
    source = overlay.lower / base
    wanted: Iterable[str] = (_IGNORE_RULES,) if folder.parent else (_IGNORE_RULES, _SUBMODULES)
    copied = {}
    for name in os.listdir(source) if is_whole else wanted:
        if name not in found and os.path.lexists(source / name):
            copied[name] = _copy(overlay, source / name, name, folder.descriptor)
    return copied


def _copy(overlay: Overlay, source: Path, name: str, folder: int) -> bool:
    """Copy a file or link of the base, or make a folder like one, in the open `folder`. Returns whether it is a folder."""
    status = os.lstat(source)
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(name, dir_fd=folder)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), name, dir_fd=folder)
    else:
        # A worker that is killed leaves no half of a file.
        copy = overlay.upper.with_name("copy")
        shutil.copyfile(source, copy)
        os.rename(copy, name, dst_dir_fd=folder)
    os.chown(name, status.st_uid, status.st_gid, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=folder)
    return stat.S_ISDIR(status.st_mode)


def _detach(overlay: Overlay, moved: Container[str]) -> None:
    """Let moved folders, which have all of their files now, show nothing of the base."""
    for folder in walk(overlay.upper):
        if folder.path in moved:
            os.setxattr(folder.descriptor, _OPAQUE, b"y")
            os.removexattr(folder.descriptor, _REDIRECT)
        with os.scandir(folder.descriptor) as entries:
            folder.subfolders += [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def bring_up(overlay: Overlay, path: bytes) -> None:
    """Copy a file or folder that shows of the base into the upper layer, with the folders above it. Raises OSError."""
    if shows(overlay, path):
        with folder_in(overlay, path) as folder:
            _copy(overlay, overlay.lower / os.fsdecode(path), _name(path), folder)


def hide(overlay: Overlay, path: bytes) -> bool:
    """Let a file or folder of the base not show any more. Returns whether it did. Raises OSError."""
    if not shows(overlay, path):
        return False
    with folder_in(overlay, path) as folder:
        os.mknod(_name(path), stat.S_IFCHR, WHITEOUT, dir_fd=folder)
    return True


def shows(overlay: Overlay, path: bytes) -> bool:
    """Whether the base has the path, and nothing in the upper layer is in its place or hides it."""
    place = os.fsencode(overlay.upper)
    *folders, name = path.split(b"/")
    for part in folders:
        place = os.path.join(place, part)
        if not os.path.lexists(place):
            break
        if not stat.S_ISDIR(os.lstat(place).st_mode) or _attribute(place, _OPAQUE) == b"y":
            return False
    else:
        if os.path.lexists(os.path.join(place, name)):
            return False
    return kind_of(overlay.lower, path) is not None


@contextmanager
def folder_in(overlay: Overlay, path: bytes) -> Iterator[int]:
    """The open folder of the upper layer that `path` is in. A missing folder is made like that of the base, if it shows
    there, or else made."""
    descriptor = os.open(overlay.upper, _FOLDER)
    try:
        folders = path.split(b"/")[:-1]
        for depth, part in enumerate(folders, 1):
            with suppress(FileExistsError):
                place = b"/".join(folders[:depth])
                if kind_of(overlay.lower, place) == stat.S_IFDIR:
                    _copy(overlay, overlay.lower / os.fsdecode(place), os.fsdecode(part), descriptor)
                else:
                    make_folder(overlay, part, descriptor)
            inner = os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def make_folder(overlay: Overlay, name: bytes, within: int) -> None:
    """Make a folder in an open one of the upper layer, for the agent's user. It shows nothing of the base."""
    os.mkdir(name, dir_fd=within)
    made = os.open(name, _FOLDER, dir_fd=within)
    try:
        owner = os.stat(overlay.upper).st_uid
        os.fchown(made, owner, owner)
        os.fchmod(made, 0o755)
        os.setxattr(made, _OPAQUE, b"y")
    finally:
        os.close(made)


def _name(path: bytes) -> str:
    return os.fsdecode(path.rpartition(b"/")[2])


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _attribute(place: int | bytes, name: str) -> bytes | None:
    with suppress(OSError):
        return os.getxattr(place, name)
    return None
