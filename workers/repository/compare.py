"""Diffs between trees, in the form that is stored."""

from __future__ import annotations

from typing import IO

from workers.repository.git import Git

# Renames are detected if they are few. Copies are not: git would have to read every file of the tree.
_DIFF = (
    "diff-tree",
    "-r",
    "--patch",
    "--binary",
    "--full-index",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "-l400",
    "--submodule=short",
    "--ignore-submodules=none",
    "--src-prefix=a/",
    "--dst-prefix=b/",
)


def compare_trees(git: Git, old: str, new: str, file: IO[bytes], *, find_renames: bool) -> None:
    """Write the diff from one tree to another to `file`. They are given by their ids. Raises what `Git.write` does."""
    git.write(*_DIFF, "--find-renames" if find_renames else "--no-renames", old, new, file=file)
