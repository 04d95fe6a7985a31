"""Conflicts of a merge that are marked in files: what an agent is told of them, and whether it has resolved them."""

from __future__ import annotations

from contextlib import closing

from workers.errors import EngineError
from workers.job import Conflict
from workers.publishing.commits import named
from workers.repository.objects import Objects
from workers.repository.trees import changes


def refuse_unresolved(conflict: Conflict, objects: Objects, base_tree: str, tree: str) -> None:
    """Raise EngineError `conflicts_left` if a file that differs from the base still has a marker."""
    paths: dict[bytes, list[bytes]] = {}
    for change in changes(objects, base_tree, tree):
        if change.exists:
            paths.setdefault(change.new_id, []).append(change.path)
    marked = _find_marked(conflict, objects, list(paths))
    if unresolved := sorted(path for id in marked for path in paths[id]):
        message = (
            f"Conflicts with the branch {conflict.branch} are still marked in {named([_shown(each) for each in unresolved])}. "
            "The runner is as it was. Rebase again, with a prompt that says how to resolve them, or adopt the work of this "
            "session and resolve them there."
        )
        raise EngineError("conflicts_left", "diff", message)


def _find_marked(conflict: Conflict, objects: Objects, ids: list[bytes]) -> set[bytes]:
    ours, theirs = (name.encode() for name in conflict.names)
    marks = (b"\n<<<<<<< " + ours, b"\n>>>>>>> " + theirs)
    longest = max(map(len, marks))
    found: set[bytes] = set()
    last, window = b"", b""
    with closing(objects.contents(ids)) as contents:
        for id, piece in contents:
            # The first piece of an object is a line that is not part of it, so each line follows another one.
            window = window[-longest:] + piece if id == last else piece
            last = id
            if any(mark in window for mark in marks):
                found.add(id)
    return found


def _shown(path: bytes) -> str:
    return path.decode(errors="replace")
