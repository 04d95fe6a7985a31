"""Files of the repository that a sparse checkout leaves out. No one sees them in a session, so nothing there deletes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from workers.errors import EngineError
from workers.job import Host, Job
from workers.processes.lifeline import Lifeline
from workers.repository.cone import Cone
from workers.repository.contents import Contents
from workers.repository.mirror import Mirror
from workers.repository.objects import SUBMODULE, Entry, Objects
from workers.repository.trees import Change, TreePaths, changes, rewrite
from workers.workspace.staging import Staged

_MOST = 1_000


class LeftOut:
    """The files of the tree `before` that are not checked out: those of the base outside of the cone, except where the
    work of earlier sessions, or setup, changed them."""

    def __init__(self, objects: Objects, cone: Cone, base_tree: str, before: str) -> None:
        self._objects, self._cone, self._before = objects, cone, before
        self._base, self._old = TreePaths(objects, base_tree), TreePaths(objects, before)

    def restore(self, staged: Staged, dropped: Iterable[bytes]) -> None:
        """Put those of the files that are missing there back into what was staged, with notes on what had to go for them.

        Files that were `dropped` from the agent's index are noted as well.
        """
        staged.tree, notes = self._restored(staged.tree)
        staged.notes += [*notes, *self._notes_on_removed(dropped)]

    def _restored(self, tree: str) -> tuple[str, list[str]]:
        """`tree` with those of the files that are missing there, and notes on what had to go for them.

        A file in the place of one is a change of it. A folder in the place of one is not kept, and neither is a file in the
        place of a folder with some.
        """
        changed = list(changes(self._objects, self._before, tree))
        missing = {
            each.path: self._old.entry(each.path) for each in changed if not each.exists and self._has(each.path)
        }
        if not missing:
            return tree, []
        folders = {folder for path in missing for folder in _folders_of(path)}
        in_the_way = [
            each.path
            for each in changed
            if each.exists and (each.path in folders or any(folder in missing for folder in _folders_of(each.path)))
        ]
        restored = rewrite(self._objects, tree, {**dict.fromkeys(in_the_way), **missing})
        return restored, [
            f"{_shown(path)}: the repository has other files there, outside of sparse_paths" for path in in_the_way
        ]

    def _notes_on_removed(self, dropped: Iterable[bytes]) -> list[str]:
        """Notes on files that are not checked out and were removed from the agent's index."""
        found = itertools.islice(filter(self._has, dropped), _MOST)
        return [f"{_shown(path)}: its removal, as it is outside of sparse_paths" for path in found]

    def _has(self, path: bytes) -> bool:
        entry: Entry | None = self._old.entry(path)
        return not self._cone.has(path) and entry is not None and entry == self._base.entry(path)


def obtain_old_contents(
    staged: Staged,
    objects: Objects,
    base_tree: str,
    cone: Cone,
    job: Job,
    host: Host,
    lifeline: Lifeline | None,
    seconds: float,
) -> None:
    """Obtain the old content of files outside of the cone that a session has changed, which their diffs need.

    A fetch may take `seconds`. Where it fails, the files are as in the base again, with notes on what is not kept.
    """
    host = replace(host, fetch_timeout_seconds=min(host.fetch_timeout_seconds, seconds))
    contents = Mirror(host, job.site_id, lifeline or Lifeline(2 * seconds)).contents(job)
    changed = changes(objects, base_tree, staged.tree)
    staged.tree, notes = _with_old_contents(objects, contents, cone, changed, staged.tree)
    staged.notes += notes


def _with_old_contents(
    objects: Objects, contents: Contents, cone: Cone, changed: Iterable[Change], tree: str
) -> tuple[str, list[str]]:
    """Obtain the old content of `changed` files outside of the cone.

    `changed` is how `tree` differs from the base. Where that fails the files are as in the base again. Returns the tree and
    notes on what is not kept.
    """
    outside = [each for each in changed if each.existed and each.old_mode != SUBMODULE and not cone.has(each.path)]
    try:
        contents.obtain(each.old_id for each in outside)
    except (EngineError, TimeoutError) as error:
        sizes = objects.sizes([each.old_id for each in outside])
        lost = [each for each, size in zip(outside, sizes, strict=True) if size is None]
        restored = rewrite(objects, tree, {each.path: Entry(each.old_mode, each.old_id) for each in lost})
        return restored, [
            f"{_shown(each.path)}: its change, as its old content was not obtained: {error}" for each in lost
        ]
    return tree, []


def find_missing(objects: Objects, tree: str, cone: Cone) -> list[str]:
    """Those of the cone's folders that are no folders of the tree."""
    paths = TreePaths(objects, tree)
    found = ((path, paths.entry(path)) for path in cone.folders)
    return [_shown(path) for path, entry in found if entry is None or not entry.is_tree]


def _folders_of(path: bytes) -> Iterator[bytes]:
    while path := path.rpartition(b"/")[0]:
        yield path


def _shown(path: bytes) -> str:
    return path.decode(errors="replace")
