"""Compare trees, and remove from one what only the setup command changed."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from workers.job import Secrets
from workers.repository.compressed import LONGEST_MARK, Budget, decompressed, has_mark
from workers.repository.git import Git
from workers.repository.objects import NO_ENTRY, Entry, Objects


@dataclass(frozen=True)
class Change:
    """How one path differs between two trees. A mode of `000000` means that the path does not exist."""

    path: bytes
    old_mode: bytes
    new_mode: bytes
    old_id: bytes
    new_id: bytes

    @property
    def existed(self) -> bool:
        """Whether the older tree has the path."""
        return self.old_mode != NO_ENTRY.mode

    @property
    def exists(self) -> bool:
        """Whether the newer tree has the path."""
        return self.new_mode != NO_ENTRY.mode


def changes(objects: Objects, old: str, new: str) -> Generator[Change, None, None]:
    """Every path in which two trees differ, one folder after the other. Names are bytes, as git allows any bytes."""
    # Trees may be deeper than Python's stack.
    folders = [(b"", old, new)] if old != new else []
    while folders:
        folder, old, new = folders.pop()
        before, after = (objects.tree(tree) if tree else {} for tree in (old, new))
        for name in sorted(before.keys() | after.keys()):
            was, now = before.get(name, NO_ENTRY), after.get(name, NO_ENTRY)
            if was == now:
                continue
            old_file, new_file = (NO_ENTRY if each.is_tree else each for each in (was, now))
            if old_file != new_file:
                yield Change(folder + name, old_file.mode, new_file.mode, old_file.id, new_file.id)
            if was.is_tree or now.is_tree:
                old_tree, new_tree = (each.id.decode() if each.is_tree else "" for each in (was, now))
                folders.append((folder + name + b"/", old_tree, new_tree))


def holds_secret(
    objects: Objects, changed: Iterable[Change], secrets: Secrets, check: Callable[[], None] = lambda: None
) -> bool:
    """Whether the name or the new content of a changed path holds a known secret, plain or in a compressed member.

    The files are read instead of the patch, because a patch compresses binary files. `check` is called for each piece of
    them, and may raise.
    """
    existing = [change for change in changed if change.exists]
    if secrets.are_in(change.path + b"\0" for change in existing):
        return True
    compressed: dict[bytes, None] = {}
    with closing(objects.contents(change.new_id for change in existing)) as contents:
        if secrets.are_in(_noting_compressed(contents, compressed, check)):
            return True
    budget = Budget()
    return any(_holds_compressed(objects, each, secrets, budget, check) for each in compressed)


MOST_NESTED = 3
"""How deep in each other compressed members are read."""


def _noting_compressed(
    contents: Iterable[tuple[bytes, bytes]], noted: dict[bytes, None], check: Callable[[], None]
) -> Iterator[bytes]:
    """The pieces of `contents`. The objects that may be or hold compressed members are added to `noted`."""
    last, window = b"", b""
    for id, piece in contents:
        check()
        yield piece
        # The first piece of an object is not yet its content.
        window = window[-LONGEST_MARK:] + piece if id == last else b""
        last = id
        if has_mark(window):
            noted[id] = None


def _holds_compressed(objects: Objects, id: bytes, secrets: Secrets, budget: Budget, check: Callable[[], None]) -> bool:
    for depth in range(1, MOST_NESTED + 1):
        # What is in the members is not kept, so it is decompressed again for what is in the members in them.
        nested: dict[bytes, None] = {}
        with closing(objects.contents([id])) as contents:
            next(contents)
            pieces: Iterator[bytes] = (piece for _, piece in contents)
            for _ in range(depth):
                pieces = decompressed(pieces, budget)
            if secrets.are_in(_noting_compressed(((id, piece) for piece in pieces), nested, check)):
                return True
        if not nested:
            break
    return False


@contextmanager
def unchanged_time(index: Path) -> Iterator[None]:
    """Keep the time of an index that git edits without looking at the files.

    Git reads files that changed in the second of that time, or later, as their times and sizes cannot tell whether they
    changed once more. A newer time would make it miss a change that keeps the size of a file.
    """
    written = index.stat().st_mtime_ns
    yield
    os.utime(index, ns=(written, written))


@contextmanager
def temporary_index(git: Git) -> Iterator[Git]:
    """`git` with an empty index of its own."""
    with tempfile.TemporaryDirectory(dir=git.directory) as folder:
        yield replace(git, index=Path(folder) / "index", work_tree=None)


def revert_setup_changes(
    objects: Objects, start: str, setup: str, final: str, changed: Sequence[Change], is_kept: Callable[[bytes], bool]
) -> str:
    """The tree `final`, with every path that only setup changed reverted to `start`.

    What the setup command changed and the agent did not touch is not part of the diff, tracked files included. A lock
    file that only setup rewrote is not the agent's work. One that the agent changed further counts in full, because
    it cannot be known which lines are whose.

    `changed` is how `final` differs from `setup`. A path that is missing from `final` although it `is_kept` counts as
    not touched by the agent.
    """
    missing = [change for change in changed if not change.exists and is_kept(change.path)]
    touched = {change.path: change.exists for change in changed} if missing or setup != start else {}
    for change in missing:
        del touched[change.path]
    by_setup = [each for each in changes(objects, start, setup) if each.path not in touched] if setup != start else []
    untouched = {change.path for change in by_setup}
    restored = [*by_setup, *(change for change in missing if change.path not in untouched)]
    return _restore(objects, final, restored, added={path for path, exists in touched.items() if exists})


def _restore(objects: Objects, tree: str, old: list[Change], added: set[bytes]) -> str:
    """`tree` with the old side of each change, except where it conflicts with a path in `added`."""
    if not old:
        return tree
    # A file that setup turned into a folder cannot be restored if the agent has put files into that folder.
    folders = {path[:cut] for path in added for cut in _slashes(path)}
    fitting = [c for c in old if c.path not in folders and not any(c.path[:cut] in added for cut in _slashes(c.path))]
    old_sides = {c.path: None if not c.existed else Entry(c.old_mode, c.old_id) for c in fitting}
    return rewrite(objects, tree, old_sides)


class TreePaths:
    """What is at a path of a tree. Each folder is read once."""

    def __init__(self, objects: Objects, tree: str) -> None:
        self._objects = objects
        self._folders = {b"": objects.tree(tree)}

    def entry(self, path: bytes) -> Entry | None:
        """The file, folder or submodule at the path, if there is one."""
        folder, _, name = path.rpartition(b"/")
        return self.folder(folder).get(name)

    def folder(self, path: bytes) -> dict[bytes, Entry]:
        """The entries of the folder at the path; empty if there is no folder."""
        if path in self._folders:
            return self._folders[path]
        # From the top, and only folders that exist are kept: somebody may have made up a path of any depth.
        for end in _slashes(path + b"/"):
            if path[:end] not in self._folders:
                found = self.entry(path[:end])
                if not found or not found.is_tree:
                    return {}
                self._folders[path[:end]] = self._objects.tree(found.id.decode())
        return self._folders[path]

    def files_at(self, path: bytes) -> dict[bytes, Entry]:
        """The file at the path, or all files in the folder there."""
        found = {}
        paths = [path]
        while paths:
            path = paths.pop()
            entry = self.entry(path)
            if entry and entry.is_tree:
                paths += [path + b"/" + name for name in self.folder(path)]
            elif entry:
                found[path] = entry
        return found


def rewrite(objects: Objects, tree: str, files: Mapping[bytes, Entry | None]) -> str:
    """The tree with these files, or without those that are None. Returns its id; only trees that change are written.

    A file takes the place of a folder of its name, and a folder that of a file.
    """
    folders: dict[bytes, dict[bytes, Entry | None]] = {b"": {}}
    for path, entry in files.items():
        folder, _, name = path.rpartition(b"/")
        while folder not in folders:
            folders[folder] = {}
            folder = folder.rpartition(b"/")[0]
        folders[path.rpartition(b"/")[0]][name] = entry
    old = TreePaths(objects, tree)
    emptied: set[bytes] = set()
    for folder in sorted(folders.keys() - {b""}, key=_depth, reverse=True):
        entries = _replaced(folder, old.folder(folder), folders[folder], emptied)
        above, _, name = folder.rpartition(b"/")
        if entries == old.folder(folder):
            continue
        if not entries:
            emptied.add(folder)
        elif folders[above].get(name) is None:
            folders[above][name] = Entry.of_tree(objects.write_tree(entries))
    entries = _replaced(b"", old.folder(b""), folders[b""], emptied)
    return tree if entries == old.folder(b"") else objects.write_tree(entries)


def _depth(folder: bytes) -> int:
    return folder.count(b"/")


def _replaced(
    folder: bytes, entries: Mapping[bytes, Entry], new: Mapping[bytes, Entry | None], emptied: Collection[bytes]
) -> dict[bytes, Entry]:
    """The entries of a folder with the new ones. A file that is gone may be a folder now, which stays."""
    found = {name: entry for name, entry in entries.items() if _join(folder, name) not in emptied}
    for name, entry in new.items():
        if entry is not None:
            found[name] = entry
        elif name in found and not found[name].is_tree:
            del found[name]
    return found


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def _slashes(path: bytes) -> Iterator[int]:
    return (found.start() for found in re.finditer(b"/", path))


def fields_of(chunks: Iterator[bytes], end: bytes = b"\0") -> Iterator[bytes]:
    """The fields of output in which each ends with `end`."""
    rest = b""
    for chunk in chunks:
        *fields, rest = (rest + chunk).split(end)
        yield from fields
