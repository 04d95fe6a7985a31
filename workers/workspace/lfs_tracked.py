"""Which files Git LFS keeps when an attempt begins. That of a base is found out once, when the base is made."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from workers.lfs.attributes import is_attributes, name_lfs
from workers.lfs.pointers import Pointer
from workers.repository.git import Git
from workers.repository.index_file import read_index, read_records
from workers.repository.objects import Entry, Objects
from workers.repository.trees import Change
from workers.workspace.lfs_files import Tracked, begins_lfs, find_tracked

_FILE = "lfs.json"


def note_in_base(folder: Path, git: Git, objects: Objects, tree: str, files: Mapping[bytes, Entry]) -> None:
    """Write down which of the files of a base Git LFS keeps, if they are checked out; nothing if no attributes name it.

    Raises what `find_tracked` does.
    """
    noted = None
    attributes = [each.id for path, each in files.items() if is_attributes(path)]
    if attributes and name_lfs(objects, attributes):
        records = read_records(folder / "index", git.object_format)
        checked_out = {path: each for path, each in files.items() if not records[path].is_left_out}
        found = find_tracked(git, objects, tree, checked_out)
        noted = {os.fsdecode(path): (*map(bytes.decode, each.entry), *each.pointer) for path, each in found.items()}
    new = folder / f"{_FILE}.{uuid.uuid4().hex}"
    new.write_text(json.dumps(noted))
    new.rename(folder / _FILE)


def find_at_start(
    folder: Path, base_tree: str, git: Git, objects: Objects, tree: str, changed: Sequence[Change]
) -> tuple[dict[bytes, Tracked], dict[bytes, Tracked]] | None:
    """The files that Git LFS keeps: those of the base in `folder`, and those that earlier sessions changed, by which the
    tree differs from it. None: the repository has no Git LFS. Raises what `find_tracked` does."""
    if not (folder / _FILE).exists():
        # A worker of an earlier release made the base.
        note_in_base(folder, git, objects, base_tree, read_index(folder / "index", git.object_format))
    base = _read(folder)
    if base is None and not begins_lfs(objects, changed):
        return None
    kept = dict(base or {})
    for change in changed:
        kept.pop(change.path, None)
    files = {change.path: Entry(change.new_mode, change.new_id) for change in changed if change.exists}
    return kept, find_tracked(git, objects, tree, files)


def _read(folder: Path) -> dict[bytes, Tracked] | None:
    noted = json.loads((folder / _FILE).read_bytes())
    if noted is None:
        return None
    return {
        os.fsencode(path): Tracked(Entry(mode.encode(), id.encode()), Pointer(oid, size))
        for path, (mode, id, oid, size) in noted.items()
    }
