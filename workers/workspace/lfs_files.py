"""Files of Git LFS in a checkout: the agent sees their content, and every tree of ours has their pointers.

Our index, and that of the agent's repository, say of an unchanged file that it is its pointer, as they do with `git-lfs`.
So neither of them reads it, and the agent's git needs no program to see that it has not changed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from workers.lfs.attributes import find_kept, is_attributes, name_lfs
from workers.lfs.cache import Cache
from workers.lfs.pointers import Pointer, find_pointers, find_written_as_pointers
from workers.repository.git import Git
from workers.repository.index_file import Record, set_states, state_of
from workers.repository.objects import Entry, Objects
from workers.repository.trees import Change, changes, rewrite
from workers.workspace.checkouts import Checkout

_FILES = (b"100644", b"100755")
_PROGRAM = b"100755"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Git reads a file again whose time is that of the index.
_AGE = 10 * 10**9
SLOW_ATTRIBUTES = (
    ".gitattributes: git could not match its patterns in time, so it is not known which files Git LFS keeps"
)
States = dict[str, tuple[str, str]]


class Tracked(NamedTuple):
    """A file of a tree that Git LFS keeps: its pointer as an entry of the tree, and what that says."""

    entry: Entry
    pointer: Pointer


def find_tracked(git: Git, objects: Objects, tree: str, files: Mapping[bytes, Entry]) -> dict[bytes, Tracked]:
    """Those of the files of a tree that are pointers, and that Git LFS keeps by its attributes. Raises as `find_kept`."""
    pointers = find_pointers(objects, (each.id for each in files.values() if each.mode in _FILES))
    found = {path: each for path, each in files.items() if each.id in pointers and each.mode in _FILES}
    kept = find_kept(git, objects, tree, found.keys())
    return {path: Tracked(each, pointers[each.id]) for path, each in found.items() if path in kept}


def begins_lfs(objects: Objects, changed: Iterable[Change]) -> bool:
    """Whether changed attributes may name Git LFS."""
    ids = [change.new_id for change in changed if is_attributes(change.path) and change.new_mode in _FILES]
    return bool(ids) and name_lfs(objects, ids)


class LfsFiles:
    """The files of Git LFS of one attempt, whose folder is `root`. Those that it adds are in `new`, by their ids."""

    def __init__(self, root: Path, cache: Cache) -> None:
        self._folder, self.cache = root / "lfs", cache
        self._records: dict[bytes, Record] = {}
        self._here: set[str] = set()
        self._cleaned: dict[bytes, Pointer] = {}
        self.new: dict[str, Path] = {}
        self.notes: list[str] = []
        """What the last `clean` could not do."""

    def write(
        self,
        tracked: Mapping[bytes, Tracked],
        checkout: Path,
        folder_of: Callable[[bytes], AbstractContextManager[int]],
        indexes: Sequence[Path],
        object_format: str,
    ) -> list[bytes]:
        """Write the content of the files that are in the cache over their pointers, and note it in the indexes.

        Returns the paths of those that are not in the cache. `folder_of` opens the folder that a path is in. No process has
        run in the checkout yet. Raises OSError.
        """
        owner = os.stat(checkout).st_uid
        modified = min(time.time_ns(), *(index.stat().st_mtime_ns for index in indexes)) - _AGE
        self._folder.mkdir(mode=0o700, exist_ok=True)
        copy, missing = self._folder / "copy", []
        for path, each in tracked.items():
            if not self.cache.copy(each.pointer, copy):
                missing.append(path)
                continue
            os.chmod(copy, 0o755 if each.entry.mode == _PROGRAM else 0o644)
            if os.geteuid() == 0:
                os.chown(copy, owner, owner)
            os.utime(copy, ns=(modified, modified))
            with folder_of(path) as folder:
                name = path.rpartition(b"/")[2]
                os.rename(os.fsencode(copy), name, dst_dir_fd=folder)
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            self._records[path] = Record(state_of(status), bytes.fromhex(each.entry.id.decode()))
            self._here.add(each.pointer.oid)
        for index in indexes:
            set_states(index, self._records, object_format)
        return missing

    @property
    def states(self) -> States:
        """What `restore` needs, as JSON can keep it."""
        return {os.fsdecode(path): (each.state.hex(), each.object.hex()) for path, each in self._records.items()}

    def restore(self, states: States) -> None:
        self._records = {
            os.fsencode(path): Record(bytes.fromhex(state), bytes.fromhex(object))
            for path, (state, object) in states.items()
        }

    def note(self, index: Path, object_format: str) -> None:
        """Note in an index which files are unchanged, so that git does not read them."""
        if self._records:
            set_states(index, self._records, object_format)

    def clean(self, git: Git, objects: Objects, before: str, tree: str) -> str:
        """The tree with pointers for the files that Git LFS keeps, as far as they differ from the tree `before`.

        What is new is kept in `new`. Empty files stay, as with `git-lfs`, and so do pointers with marks of a conflict. So do
        files that git itself reads: as a pointer, `.gitattributes` would not say any more what Git LFS keeps. If the
        patterns of the attributes cannot be matched in time, those files become pointers that were some before the agent began.
        Raises what `Git.stream` does, and OSError.
        """
        new = (change for change in changes(objects, before, tree) if change.new_mode in _FILES)
        changed = {change.path: change for change in new if not _is_of_git(change.path)}
        kept = self._find_kept(git, objects, tree, changed.keys())
        ids = list({changed[path].new_id for path in kept})
        left = find_written_as_pointers(objects, ids)
        left.update(each for each, size in zip(ids, objects.sizes(ids), strict=True) if not size)
        files = {path: changed[path] for path in kept if changed[path].new_id not in left}
        for change in files.values():
            if change.new_id not in self._cleaned:
                self._cleaned[change.new_id] = self._keep(objects, change.new_id)
        pointers = [self._cleaned[change.new_id] for change in files.values()]
        written = zip(files.items(), self._store(git, pointers), strict=True)
        return rewrite(objects, tree, {path: Entry(change.new_mode, id) for (path, change), id in written})

    def _find_kept(self, git: Git, objects: Objects, tree: str, paths: Collection[bytes]) -> Collection[bytes]:
        self.notes = []
        try:
            return find_kept(git, objects, tree, paths)
        except TimeoutError:
            self.notes = [SLOW_ATTRIBUTES]
            return self._records.keys() & paths

    def _keep(self, objects: Objects, id: bytes) -> Pointer:
        """The pointer for the content of an object, which is kept unless it came from the server."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        draft, digest, size = self._folder / "draft", hashlib.sha256(), 0
        with open(draft, "wb") as file:
            for piece in objects.content(id):
                digest.update(piece)
                size += len(piece)
                file.write(piece)
        pointer = Pointer(digest.hexdigest(), size)
        if pointer.oid not in self._here and pointer.oid not in self.new:
            self.new[pointer.oid] = draft.rename(self._folder / pointer.oid)
        return pointer

    def _store(self, git: Git, pointers: Sequence[Pointer]) -> list[bytes]:
        """Store the pointers in the git directory. Returns their ids in the same order."""
        if not pointers:
            return []
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            for pointer in set(pointers):
                Path(folder, pointer.oid).write_bytes(pointer.text)
            names = Path(folder, "names")
            names.write_text("".join(f"{folder}/{pointer.oid}\n" for pointer in pointers))
            with open(names, "rb") as stdin:
                return git.run("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=stdin).split()

    def new_in(self, objects: Objects, changed: Iterable[Change]) -> dict[str, Path]:
        """The files with the content of the new objects that changed files point to, by their ids."""
        pointers = find_pointers(objects, (change.new_id for change in changed if change.exists))
        oids = {pointer.oid for pointer in pointers.values()}
        return {oid: path for oid, path in self.new.items() if oid in oids}

    def share(self) -> None:
        """Let the next sessions on this host use the new objects."""
        for oid, path in self.new.items():
            self.cache.keep(oid, path)


class LfsCheckout:
    """A checkout with files of Git LFS, of which the tree has the pointers."""

    def __init__(self, checkout: Checkout, files: LfsFiles, objects: Objects) -> None:
        self._checkout, self._files, self._objects = checkout, files, objects
        self.has_whiteouts = checkout.has_whiteouts

    def open_index(self, git: Git, before: str, mentioned: Iterable[bytes], *, afresh: bool) -> None:
        self._checkout.open_index(git, before, mentioned, afresh=afresh)
        assert git.index is not None
        self._files.note(git.index, git.object_format)

    def tree(self, git: Git, before: str) -> str:
        return self._files.clean(git, self._objects, before, self._checkout.tree(git, before))


def _is_of_git(path: bytes) -> bool:
    """Whether git reads the file, in whichever folder it is."""
    return path.rpartition(b"/")[2] in (b".gitattributes", b".gitignore", b".gitmodules")


@contextmanager
def open_folder(checkout: Path, path: bytes) -> Iterator[int]:
    """The open folder of a whole checkout that a path is in."""
    descriptor = os.open(os.path.join(os.fsencode(checkout), path.rpartition(b"/")[0]), _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
