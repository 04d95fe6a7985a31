"""Reads the agent's index without git, where that can be sure of what git would say: it takes no sandbox and no process.

The index is untrusted. It is parsed, and its paths are checked, as if git had named them.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from workers.repository.index_file import NO_RECORD, records_of
from workers.sandbox.base import Overlay
from workers.workspace.agent_index import AgentIndex, checked
from workers.workspace.overlay import shows
from workers.workspace.submodules import kind_of

# Of more files, git reads the index sooner.
_MOST_BYTES = 512 * 1024
_FILES = (0o100644, 0o100755, 0o120000)
_PACKS = Path(".git", "objects", "pack")


def read_plain_index(overlay: Overlay | None, object_format: str) -> AgentIndex | None:
    """How the agent's index differs from the base. None: only git can tell.

    That is so without an overlay, if the index has more than files, such as conflicts or submodules, if it or that of the base is
    large or not one of version 2 or 3, and if the agent's repository may not have the base any more. No process of the agent may be running.
    """
    if overlay is None:
        return None
    with suppress(OSError, ValueError):
        if not all(_is_there(overlay, os.fsencode(_PACKS / pack)) for pack in os.listdir(overlay.lower / _PACKS)):
            return None
        contents = [_content(folder / ".git") for folder in (overlay.lower, overlay.upper)]
        before, after = (records_of(content, object_format) for content in contents)
        if after and all(record.mode in _FILES for record in after.values()):
            changed = (path for path, record in after.items() if not record.is_same_file(before.get(path, NO_RECORD)))
            sparse = frozenset(checked(path) for path, record in after.items() if record.is_left_out)
            return AgentIndex([*map(checked, changed)], [path for path in before if path not in after], sparse)
    return None


def _is_there(overlay: Overlay, path: bytes) -> bool:
    """Whether a file of the base is in the checkout. Git sets the times of a pack that has what it is about to store."""
    return shows(overlay, path) or kind_of(overlay.upper, path) == stat.S_IFREG


def _content(repository: Path) -> bytes:
    """The content of the index. Raises ValueError if it is no file or too large, and OSError."""
    folder = os.open(repository, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        index = os.open("index", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    with open(index, "rb") as file:
        status = os.fstat(index)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            raise ValueError("no file of that size is an index")
        return file.read(_MOST_BYTES)
