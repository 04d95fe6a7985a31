"""What a diff only points to: the commits of submodules, and the content of files that Git LFS keeps elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing

from workers.repository.objects import SUBMODULE, Objects
from workers.repository.trees import Change

_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:[0-9a-f]{64}\nsize [0-9]+\n")
# A pointer may have further lines for extensions, which hardly anybody uses. Other files of this size are few.
_POINTER_BYTES = range(120, 200)


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
    ids = list(dict.fromkeys(each for change in changed for each in (change.old_id, change.new_id)))
    small = [each for each, size in zip(ids, objects.sizes(ids), strict=True) if size in _POINTER_BYTES]
    content = dict.fromkeys(small, b"")
    with closing(objects.contents(small)) as pieces:
        for each, piece in pieces:
            content[each] += piece
    # The first piece of an object is a line with its type and size.
    pointers = {each for each, data in content.items() if _POINTER.fullmatch(data.partition(b"\n")[2])}
    for change in changed:
        path = change.path.decode(errors="replace")
        if change.new_id in pointers:
            yield path
        elif change.old_id in pointers and change.exists:
            yield f"{path}: the file itself instead of its pointer"
