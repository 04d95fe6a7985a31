"""Which files of a tree Git LFS keeps: those that its `.gitattributes` give the attribute `filter=lfs`.

Git reads the attributes from objects and not from files, and no filter runs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from workers.repository.alternates import init_with_alternates
from workers.repository.git import Git
from workers.repository.index_file import write_index
from workers.repository.objects import Entry, Objects
from workers.repository.trees import TreePaths, fields_of

FILE = b".gitattributes"
_MARK = b"filter=lfs"
# Patterns with many `**` can take for ever. For a hundred thousand files, usual ones take less than a second.
_CPU_SECONDS = 10
# Of the time for saving.
_SHARE = 1 / 4
_FILES = (b"100644", b"100755")


def is_attributes(path: bytes) -> bool:
    return path.rpartition(b"/")[2] == FILE


def name_lfs(objects: Objects, ids: Iterable[bytes]) -> bool:
    """Whether one of these attribute files may name Git LFS."""
    window = b""
    with closing(objects.contents(ids)) as pieces:
        for _, piece in pieces:
            window = window[-len(_MARK) :] + piece
            if _MARK in window:
                return True
    return False


def find_kept(git: Git, objects: Objects, tree: str, paths: Collection[bytes]) -> set[bytes]:
    """Those of the paths that Git LFS keeps by the attributes in the tree.

    Raises what `Git.stream` does: TimeoutError, too, if git takes too much processor time to match the patterns.
    """
    folders = {path.rpartition(b"/")[0] for path in paths}
    for folder in list(folders):
        while folder := folder.rpartition(b"/")[0]:
            folders.add(folder)
    there = TreePaths(objects, tree)
    places = [b"/".join((folder, FILE)) if folder else FILE for folder in (folders | {b""} if paths else ())]
    found = {place: entry for place in places if (entry := there.entry(place)) and entry.mode in _FILES}
    if not found or not name_lfs(objects, [entry.id for entry in found.values()]):
        return set()
    return _ask(git, found, paths)


def _ask(git: Git, attributes: dict[bytes, Entry], paths: Collection[bytes]) -> set[bytes]:
    """Ask git in a directory of its own, because the attributes in ours say that no file has a filter."""
    with tempfile.TemporaryDirectory(dir=git.directory) as folder, tempfile.TemporaryFile() as stdin:
        plain = replace(
            git.for_part(_SHARE, _CPU_SECONDS),
            directory=Path(folder) / "git",
            index=Path(folder) / "index",
            work_tree=None,
        )
        init_with_alternates(plain, git.directory)
        assert plain.index is not None
        write_index(plain.index, attributes, git.object_format)
        stdin.writelines(path + b"\0" for path in paths)
        stdin.seek(0)
        with closing(plain.stream("check-attr", "--cached", "--stdin", "-z", "filter", stdin=stdin)) as output:
            fields = list(fields_of(output))
    return {path for path, value in zip(fields[::3], fields[2::3], strict=True) if value == b"lfs"}
