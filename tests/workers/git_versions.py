"""What depends on the version of git on this machine."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path

from tests.workers.repositories import git

SLOW_PATTERN = "**/a/" * 9 + "x"
"""For git before 2.41, whose time for it grows exponentially with the depth of a path."""
SLOW_PATTERNS = 10_000
"""So many of them take any git seconds for one path of sixty folders, in a file that is small enough to be read."""


def can_be_undone(patch: bytes) -> bool:
    """Whether this machine's git undoes the patch. Some versions, such as 2.47, forget the mode of what `apply --reverse`
    creates again, so a link becomes a file."""
    return not (_forgets_modes() and re.search(rb"^deleted file mode (?!100644)", patch, re.MULTILINE))


@functools.cache
def _forgets_modes() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        git(path, "init", "--quiet")
        (path / "link").symlink_to("there")
        git(path, "add", "--all")
        before = git(path, "write-tree")
        git(path, "rm", "--quiet", "--cached", "link")
        deletion = git(path, "diff", "--cached", "--binary", "--full-index", before) + "\n"
        git(path, "apply", "--cached", "--reverse", "-", stdin=deletion.encode())
        return git(path, "write-tree") != before
