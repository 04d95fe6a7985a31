"""Obtains the contents of files that a partial mirror does not have yet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

from workers.repository.cone import Cone
from workers.repository.git import Git, GitFailed
from workers.repository.needed import (
    needed_by_git,
    needed_for_diff,
    needed_for_merge,
    needed_for_patch,
    needed_for_tree,
)
from workers.repository.objects import Objects
from workers.repository.partial import is_partial

log = logging.getLogger(__name__)
# A folder in the mirror with a file for each commit and cone of which it has the contents.
_OBTAINED = "contents"


def find_missing(git: Git, ids: Iterable[bytes]) -> list[bytes]:
    """Those of the objects that are not here."""
    unique = list(dict.fromkeys(ids))
    with closing(Objects(git)) as objects:
        return [id for id, size in zip(unique, objects.sizes(unique), strict=True) if size is None]


def has_lost_contents(mirror: Git, sha: str) -> bool:
    """Whether contents of a commit are missing that were obtained."""
    noted = (file.read_bytes().split(b"\0") for file in mirror.directory.glob(f"{_OBTAINED}/{sha}*"))
    cones = (Cone(tuple(filter(None, folders))) for folders in noted)
    return any(find_missing(mirror, needed_for_tree(mirror, sha, cone)) for cone in cones)


class Contents:
    """Obtains contents for a mirror, with one fetch for each call at most. A mirror that is not partial has all of them.

    Every method raises EngineError `content_missing` and as `Mirror.obtain_base` does, and what `Git.stream` does.
    """

    def __init__(self, mirror: Git, fetch: Callable[[Sequence[bytes]], None]) -> None:
        self._mirror, self._fetch = mirror, fetch

    @property
    def mirror(self) -> Path:
        return self._mirror.directory

    @property
    def is_partial(self) -> bool:
        return is_partial(self._mirror.directory)

    def obtain(self, ids: Iterable[bytes], git: Git | None = None) -> None:
        """Obtain files by their ids, except those that `git` has, which borrows from the mirror and made some of them."""
        if self.is_partial and (missing := find_missing(git or self._mirror, ids)):
            self._fetch(missing)

    def of_tree(self, sha: str, cone: Cone) -> None:
        """Obtain the files of a commit that the cone has, and those everywhere that tell git what to do."""
        obtained = self._mirror.directory / _OBTAINED / (f"{sha}-{cone.key}" if cone else sha)
        if not self.is_partial or obtained.exists():
            return
        if missing := find_missing(self._mirror, needed_for_tree(self._mirror, sha, cone)):
            self._fetch(missing)
        elif not obtained.parent.exists():
            log.info("the server sent all contents of a repository, although the site wants a partial clone of it")
        obtained.parent.mkdir(exist_ok=True)
        obtained.write_bytes(b"\0".join(cone.folders))

    def of_git(self, sha: str) -> None:
        """Obtain the files of a commit that tell git what to do with others, such as `.gitmodules`."""
        if self.is_partial:
            self.obtain(needed_by_git(self._mirror, sha))

    def of_patch(self, base: str, patch: IO[bytes]) -> None:
        """Obtain the files of a tree or commit that a patch changes."""
        if self.is_partial:
            with closing(Objects(self._mirror)) as objects:
                self.obtain(needed_for_patch(objects, base, patch))

    def of_diff(self, git: Git, old: str, new: str) -> None:
        """Obtain the files in which two trees differ. `git` has both."""
        if self.is_partial:
            with closing(Objects(git)) as objects:
                self.obtain(needed_for_diff(objects, old, new), git)

    def of_merge(self, git: Git, ours: str, theirs: str) -> None:
        """Obtain the files that a merge of two commits reads. `git` has both."""
        if self.is_partial:
            bases: list[str] = []
            # Without a common base there is no merge.
            with suppress(GitFailed):
                bases = git.run("merge-base", "--all", ours, theirs).decode().split()
            with closing(Objects(git)) as objects:
                self.obtain([id for base in bases for id in needed_for_merge(objects, base, ours, theirs)], git)
