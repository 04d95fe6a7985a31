"""How much a tree would occupy on disk. It is counted before anything is written: a few bytes of a repository can name
the same file or folder any number of times.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import NamedTuple

from workers.errors import EngineError, Stage
from workers.limits.git_limits import GitLimits, occupied
from workers.repository.cone import Cone
from workers.repository.git import Git
from workers.repository.objects import Objects
from workers.repository.trees import Change, fields_of


class Extent(NamedTuple):
    """The number of files and folders in a tree, and the disk space that they occupy, in bytes."""

    files: int = 0
    size: int = 0

    def check(self, limits: GitLimits, stage: Stage) -> None:
        """Raise EngineError `file_limit` or `disk_limit` if it exceeds the limits."""
        if self.files > limits.disk_files:
            message = (
                f"The repository has more files and folders than the limit of {limits.disk_files:,}. Use a smaller "
                "repository, or raise AGENT_RUNNERS_MAX_DISK_FILES."
            )
            raise EngineError("file_limit", stage, message)
        if self.size > limits.disk_bytes:
            message = (
                f"The files of the repository occupy more than the limit of {limits.disk_bytes:,} bytes. Use a smaller "
                "repository, or raise AGENT_RUNNERS_MAX_DISK_BYTES."
            )
            raise EngineError("disk_limit", stage, message)

    def after(self, objects: Objects, changed: Iterable[Change]) -> Extent:
        """The extent after these changes. Folders are not counted, and what is gone is not subtracted."""
        ids = [change.new_id for change in changed if change.exists]
        return Extent(self.files + len(ids), self.size + sum(occupied(size or 0) for size in objects.sizes(ids)))


def measure_tree(git: Git, tree: str, cone: Cone) -> Extent:
    """The extent of what the cone has of a tree or commit. Ends with the error of `Extent.check` as soon as it exceeds the limits of `git`."""
    found = Extent()
    with closing(git.stream("ls-tree", "-r", "-t", "-l", "-z", tree)) as output:
        for field in fields_of(output):
            about, _, path = field.partition(b"\t")
            size = about.rpartition(b" ")[2]
            if not (cone.has_folder(path) if b" tree " in about else cone.has(path)):
                continue
            found = Extent(found.files + 1, found.size + occupied(int(size) if size.isdigit() else 1))
            found.check(git.limits, git.stage)
    return found
