"""Which contents of files an operation on a partial mirror reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import IO

from workers.repository.cone import Cone
from workers.repository.git import Git
from workers.repository.objects import SUBMODULE, Objects
from workers.repository.patches import names_in
from workers.repository.trees import Change, TreePaths, changes, fields_of

# Git reads them for folders that are not checked out too.
_OF_GIT = (b".gitattributes", b".gitignore", b".gitmodules")


def needed_for_tree(git: Git, sha: str, cone: Cone) -> Iterator[bytes]:
    """The files of a commit that the cone has, and those everywhere that tell git what to do with others."""
    return (id for path, id in _files(git, sha) if cone.has(path) or _is_of_git(path))


def needed_by_git(git: Git, sha: str) -> Iterator[bytes]:
    """The files of a commit that tell git what to do with others."""
    return (id for path, id in _files(git, sha) if _is_of_git(path))


def _is_of_git(path: bytes) -> bool:
    return path.rpartition(b"/")[2] in _OF_GIT


def _files(git: Git, sha: str) -> Iterator[tuple[bytes, bytes]]:
    """The paths of the files of a commit, with their ids."""
    with closing(git.stream("ls-tree", "-r", "-z", sha)) as output:
        for field in fields_of(output):
            about, _, path = field.partition(b"\t")
            _, kind, id = about.split(b" ")
            if kind == b"blob":
                yield path, id


def needed_for_patch(objects: Objects, base: str, patch: IO[bytes]) -> list[bytes]:
    """The files of a tree or commit that a patch changes, renames or copies."""
    tree = TreePaths(objects, objects.id_of(f"{base}^{{tree}}"))
    found = (tree.entry(name) for name in names_in(patch))
    return [each.id for each in found if each and not each.is_tree and each.mode != SUBMODULE]


def needed_for_merge(objects: Objects, base: str, ours: str, theirs: str) -> list[bytes]:
    """The files that a three-way merge reads: those that both sides changed, and those that may have been renamed.

    Git looks for renames of files that one side removed, if the other changed them or added files where they were.
    """
    trees = [objects.id_of(f"{each}^{{tree}}") for each in (base, ours, theirs)]
    one, other = ({each.path: each for each in changes(objects, trees[0], side)} for side in trees[1:])
    read = [side[path] for path in one.keys() & other.keys() for side in (one, other)]
    for side, opposite in ((one, other), (other, one)):
        if _may_matter(side, opposite):
            read += [each for each in side.values() if not (each.existed and each.exists)]
    return list(_ids_of(read))


def needed_for_diff(objects: Objects, old: str, new: str) -> list[bytes]:
    """The files in which two trees differ."""
    return list(_ids_of(changes(objects, old, new)))


def _may_matter(side: dict[bytes, Change], opposite: dict[bytes, Change]) -> bool:
    """Whether it matters for the other side which files of this one were renamed."""
    removed = [path for path, each in side.items() if not each.exists]
    if all(each.existed for each in side.values()):
        return False
    added_in = {folder for path, each in opposite.items() if not each.existed for folder in _folders_of(path)}
    return any(path in opposite or not added_in.isdisjoint(_folders_of(path)) for path in removed)


def _folders_of(path: bytes) -> Iterator[bytes]:
    while path := path.rpartition(b"/")[0]:
        yield path


def _ids_of(changed: Iterable[Change]) -> Iterator[bytes]:
    for each in changed:
        if each.existed and each.old_mode != SUBMODULE:
            yield each.old_id
        if each.exists and each.new_mode != SUBMODULE:
            yield each.new_id
