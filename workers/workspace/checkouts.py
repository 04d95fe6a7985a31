"""The two ways to a checkout, and how each of them stages what is in it.

A whole checkout has every file, and our index as well. An overlay's upper layer has only what the session touched; so has our
index, and the rest of the tree is that of before. `stage` does the same with both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from workers.repository.cone import Cone, mark_left_out
from workers.repository.git import Git
from workers.repository.index_file import read_index, write_index
from workers.repository.objects import Entry, Objects
from workers.repository.partial import write_tree
from workers.repository.trees import TreePaths, changes, rewrite, unchanged_time
from workers.sandbox.base import Overlay
from workers.workspace import overlay as overlays

_IGNORE_RULES = b".gitignore"


class Checkout(Protocol):
    """How the files of one attempt become a tree.

    `has_whiteouts`: devices in it mark what is gone.
    """

    has_whiteouts: bool

    def open_index(self, git: Git, before: str, mentioned: Iterable[bytes], *, afresh: bool) -> None:
        """Make the index of `git` ready for `git add --all` in the checkout: it has the files of the tree `before`.

        `mentioned` are paths that will be looked for in the checkout. With `afresh` the index holds nothing of an
        earlier staging. No process of the agent may be running. Raises OSError and what `Git.run` does.
        """
        ...

    def tree(self, git: Git, before: str) -> str:
        """Store the tree of the index and return its id. Raises what `Git.run` does."""
        ...


def open_checkout(overlay: Overlay | None, objects: Objects, base_tree: str, cone: Cone) -> Checkout:
    """The checkout of an attempt, whose `overlay` is what it is mounted from, if it is one."""
    return OverlayCheckout(overlay, objects, base_tree, cone) if overlay else WholeCheckout()


class WholeCheckout:
    """Every file of the cone is in the checkout. All are in the index, which knows which of them have not changed."""

    has_whiteouts = False

    def open_index(self, git: Git, before: str, mentioned: Iterable[bytes], *, afresh: bool) -> None:
        if afresh:
            assert git.index is not None
            with unchanged_time(git.index):
                git.run("read-tree", "-m", "-i", before)

    def tree(self, git: Git, before: str) -> str:
        return write_tree(git)


class OverlayCheckout:
    """Only what may differ from the base is in the upper layer and in the index."""

    has_whiteouts = True

    def __init__(self, overlay: Overlay, objects: Objects, base_tree: str, cone: Cone) -> None:
        self._overlay = overlay
        self._objects = objects
        self._cone = cone
        self._base_tree = base_tree
        self._before: dict[bytes, Entry] = {}

    def open_index(self, git: Git, before: str, mentioned: Iterable[bytes], *, afresh: bool) -> None:
        assert git.index is not None
        for path in mentioned:
            overlays.bring_up(self._overlay, path)
        found, tree = overlays.scan(self._overlay), TreePaths(self._objects, before)
        touched, gone = found.entries(tree)
        rules = dict(self._rules_left_out(found, tree)) if self._cone else {}
        # What is not of the base leaves no trace in the upper layer when it is removed.
        earlier = changes(self._objects, self._base_tree, before)
        touched.update((each.path, Entry(each.new_mode, each.new_id)) for each in earlier if each.exists)
        self._before = touched = rules | touched
        write_index(git.index, {path: entry for path, entry in touched.items() if path not in gone}, git.object_format)
        mark_left_out(git, rules)

    def _rules_left_out(self, found: overlays.Touched, tree: TreePaths) -> Iterator[tuple[bytes, Entry]]:
        """The ignore rules of touched folders that are not checked out. Git reads them from its index."""
        for folder in (*found.folders, *found.replaced):
            path = folder + b"/" + _IGNORE_RULES
            entry = tree.entry(path)
            if entry and not entry.is_tree and not self._cone.has(path):
                yield path, entry

    def tree(self, git: Git, before: str) -> str:
        assert git.index is not None
        after = read_index(git.index, git.object_format)
        changed = {
            path: after.get(path)
            for path in self._before.keys() | after.keys()
            if self._before.get(path) != after.get(path)
        }
        return rewrite(self._objects, before, changed) if changed else before
