"""Writes the work of a runner's earlier sessions into the upper layer of a new checkout."""

from __future__ import annotations

import os
from collections.abc import Sequence

from workers.repository.objects import SUBMODULE, Objects
from workers.repository.trees import Change, TreePaths
from workers.sandbox.base import Overlay
from workers.workspace.overlay import folder_in, hide, make_folder

_LINK, _PROGRAM = b"120000", b"100755"


def write_earlier_work(overlay: Overlay, objects: Objects, changed: Sequence[Change], tree: str) -> None:
    """Make the checkout have the files of `tree`; `changed` is how it differs from the base.

    The upper layer is empty still. Raises OSError and what `Objects` does.
    """
    paths = TreePaths(objects, tree)
    for change in changed:
        if not change.exists:
            gone = _first_gone(paths, change.path)
            if gone is not None:
                hide(overlay, gone)
    owner = os.stat(overlay.upper).st_uid
    for change in changed:
        if change.exists and not (change.new_mode == change.old_mode == SUBMODULE):
            _write(overlay, objects, change, owner)


def _first_gone(paths: TreePaths, path: bytes) -> bytes | None:
    """The folder that is gone with the file at the path, or the path itself. None if something else takes its place."""
    parts = path.split(b"/")
    for cut in range(1, len(parts) + 1):
        place = b"/".join(parts[:cut])
        entry = paths.entry(place)
        if entry is None:
            return place
        if not entry.is_tree:
            return None
    return None


def _write(overlay: Overlay, objects: Objects, change: Change, owner: int) -> None:
    name = change.path.rpartition(b"/")[2]
    with folder_in(overlay, change.path) as folder:
        if change.new_mode == SUBMODULE:
            make_folder(overlay, name, folder)
            return
        if change.new_mode == _LINK:
            os.symlink(b"".join(objects.content(change.new_id)), name, dir_fd=folder)
        else:
            mode = 0o755 if change.new_mode == _PROGRAM else 0o644
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=folder)
            with os.fdopen(descriptor, "wb") as file:
                for chunk in objects.content(change.new_id):
                    file.write(chunk)
                os.fchmod(file.fileno(), mode)
        os.chown(name, owner, owner, dir_fd=folder, follow_symlinks=False)
