"""Conflicts of a merge that are marked in files: the instructions for an agent, and whether it has resolved them."""

from __future__ import annotations

from contextlib import closing

from workers.errors import EngineError
from workers.job import Conflict
from workers.publishing.commits import named
from workers.repository.objects import Entry, Objects
from workers.repository.trees import changes, rewrite


def refuse_unresolved(conflict: Conflict, objects: Objects, base_tree: str, tree: str) -> None:
    """Raise EngineError `conflicts_left` if a file that differs from the base still has a marker, in it or in its name."""
    paths: dict[bytes, list[bytes]] = {}
    unresolved: set[bytes] = set()
    # Where a file and a folder have one name, or two files that differ in kind, git puts one side beside the other.
    beside = [b"~" + name.encode() for name in conflict.names]
    for change in changes(objects, base_tree, tree):
        if change.exists:
            paths.setdefault(change.new_id, []).append(change.path)
            if any(mark in change.path for mark in beside):
                unresolved.add(change.path)
    unresolved.update(path for id in _find_marked(conflict, objects, list(paths)) for path in paths[id])
    if unresolved:
        files = named([_shown(each) for each in sorted(unresolved)])
        message = (
            f"Conflicts with the branch {conflict.branch} are still marked in {files}. "
            "The runner is as it was. Rebase again, with a prompt that says how to resolve them, or adopt the work of this "
            "session and resolve them there."
        )
        raise EngineError("conflicts_left", "diff", message)


def resolved_by_setup(conflict: Conflict, objects: Objects, start: str, setup: str) -> str:
    """The tree `start` with what setup made of files with markers, such as a lock file that it wrote again.

    Other files that only setup changed are no work, and are as in `start` again in the end. These would have markers then.
    """
    changed = [change for change in changes(objects, start, setup) if change.existed]
    marked = _find_marked(conflict, objects, list({change.old_id for change in changed}))
    files = {
        change.path: Entry(change.new_mode, change.new_id) if change.exists else None
        for change in changed
        if change.old_id in marked
    }
    return rewrite(objects, start, files)


def _find_marked(conflict: Conflict, objects: Objects, ids: list[bytes]) -> set[bytes]:
    ours, theirs = (name.encode() for name in conflict.names)
    # Not from the start of the line on: the marks of a file that was renamed are longer.
    marks = (b"<<<<<<< " + ours, b">>>>>>> " + theirs)
    longest = max(map(len, marks))
    found: set[bytes] = set()
    last, window = b"", b""
    with closing(objects.contents(ids)) as contents:
        for id, piece in contents:
            window = window[-longest:] + piece if id == last else piece
            last = id
            if any(mark in window for mark in marks):
                found.add(id)
    return found


def _shown(path: bytes) -> str:
    return path.decode(errors="replace")
