"""Diffs between trees, in the form that is stored. One process of git makes several of them."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Sequence
from typing import IO

from workers.repository.git import Git

# Renames are detected if they are few. Copies are not: git would have to read every file of the tree.
_DIFF = (
    "diff-tree",
    "--stdin",
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


def compare_trees(
    git: Git, trees: Sequence[tuple[str, str]], file: IO[bytes], *, find_renames: bool
) -> list[tuple[int, int]]:
    """Write the diffs from the first to the second tree of each pair to `file`, which is empty.

    Returns where in the file each of them begins and ends. The trees are given by their full ids, and those of a pair must
    differ. Raises what `Git.write` does.
    """
    lines = [f"{old} {new}\n".encode() for old, new in trees]
    with tempfile.TemporaryFile(dir=git.directory) as pairs:
        pairs.writelines(lines)
        pairs.seek(0)
        git.write(*_DIFF, "--find-renames" if find_renames else "--no-renames", stdin=pairs, file=file)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as output:
        # Git repeats each line of its input before the diff. A line of a diff is never the same: none begins with an id.
        starts = [0]
        for line in lines[1:]:
            before = output.find(b"\n" + line, starts[-1])
            if before < 0:
                raise ValueError("git did not write a diff for each pair of trees")
            starts.append(before + 1)
        ends = [*starts[1:], len(output)]
    return [(start + len(line), end) for start, line, end in zip(starts, lines, ends, strict=True)]
