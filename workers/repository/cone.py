"""The part of a tree that a sparse checkout has, by the rules of the cone mode of git-sparse-checkout(1)."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from workers.repository.git import Git


@dataclass(frozen=True)
class Cone:
    """Folders with all that is in them, and the files beside them on the way to the root. Without folders: everything."""

    folders: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, paths: Sequence[str]) -> Cone:
        """The cone of these folders, which are relative to the root. Those in others of them add nothing."""
        given = {os.fsencode(path).strip(b"/") for path in paths}
        return cls(tuple(sorted(path for path in given if given.isdisjoint(_folders_above(path)))))

    def __bool__(self) -> bool:
        return bool(self.folders)

    @property
    def key(self) -> str:
        """A name that only cones of the same folders have. Empty for that of everything."""
        return hashlib.sha256(b"\0".join(self.folders)).hexdigest()[:16] if self.folders else ""

    def has(self, path: bytes) -> bool:
        """Whether a file at the path is checked out."""
        return not self.folders or self.has_folder(path.rpartition(b"/")[0])

    def has_folder(self, path: bytes) -> bool:
        """Whether files of the folder at the path are checked out."""
        return not self.folders or path in self._above or not self._whole.isdisjoint((path, *_folders_above(path)))

    @property
    def patterns(self) -> bytes:
        """The content of `info/sparse-checkout`, as git writes it."""
        lines = [b"/*", b"!/*/"]
        for path in map(_escaped, sorted(self._above - {b""})):
            lines += [b"/%s/" % path, b"!/%s/*/" % path]
        lines += [b"/%s/" % _escaped(path) for path in self.folders]
        return b"\n".join([*lines, b""])

    @cached_property
    def _whole(self) -> frozenset[bytes]:
        return frozenset(self.folders)

    @cached_property
    def _above(self) -> frozenset[bytes]:
        return frozenset(each for path in self.folders for each in (*_folders_above(path), b""))


EVERYTHING = Cone()


def mark_left_out(git: Git, paths: Iterable[bytes], *, is_left_out: bool = True) -> None:
    """Mark files in the index of `git` as not checked out, or as checked out. Raises what `Git.run` does."""
    with tempfile.TemporaryFile() as stdin:
        stdin.writelines(path + b"\0" for path in paths)
        if stdin.tell():
            stdin.seek(0)
            # Git wants a work tree, and looks at no file in it.
            anywhere = replace(git, work_tree=git.directory)
            option = "--skip-worktree" if is_left_out else "--no-skip-worktree"
            anywhere.run("update-index", "-z", option, "--stdin", stdin=stdin)


def _folders_above(path: bytes) -> Iterator[bytes]:
    """The folders that a path is in, without the root."""
    while path := path.rpartition(b"/")[0]:
        yield path


def _escaped(path: bytes) -> bytes:
    return re.sub(rb"[*?\[\\]", rb"\\\g<0>", path)
