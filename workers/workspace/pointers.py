"""What a diff only points to: the commits of submodules, and the content of files that Git LFS keeps elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workers.lfs.pointers import find_pointers
from workers.repository.objects import SUBMODULE, Objects
from workers.repository.trees import Change


def moved_submodules(changed: Sequence[Change]) -> Iterator[str]:
    """One line on each submodule that is added, removed or has another commit."""
    for change in changed:
        is_one, was_one = (mode == SUBMODULE for mode in (change.new_mode, change.old_mode))
        path, old, new = change.path.decode(errors="replace"), change.old_id.decode(), change.new_id.decode()
        if is_one and was_one:
            yield f"{path}: from {old} to {new}"
        elif is_one:
            yield f"{path}: added at {new}"
        elif was_one:
            yield f"{path}: removed"


def changed_pointers(objects: Objects, changed: Sequence[Change]) -> Iterator[str]:
    """One line on each file that is a pointer of Git LFS now, or was one and is not any more. Raises what `Objects` does."""
    pointers = find_pointers(objects, (each for change in changed for each in (change.old_id, change.new_id)))
    for change in changed:
        path = change.path.decode(errors="replace")
        if change.new_id in pointers:
            yield path
        elif change.old_id in pointers and change.exists:
            yield f"{path}: the file itself instead of its pointer"
