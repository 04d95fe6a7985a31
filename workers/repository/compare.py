"""Diffs between trees, in the form that is stored. One process of git makes several of them."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing

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
    git: Git, trees: Sequence[tuple[str, str]], *, find_renames: bool
) -> Generator[tuple[int, bytes], None, None]:
    """The diffs from the first to the second tree of each pair, in pieces, each with the number of its pair.

    The trees are given by their full ids, and those of a pair must differ. Raises what `Git.stream` does.
    """
    lines = [f"{old} {new}\n".encode() for old, new in trees]
    with tempfile.TemporaryFile(dir=git.directory) as pairs:
        pairs.writelines(lines)
        pairs.seek(0)
        renames = "--find-renames" if find_renames else "--no-renames"
        with closing(git.stream(*_DIFF, renames, stdin=pairs)) as chunks:
            yield from split(chunks, lines)


def split(chunks: Iterable[bytes], lines: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """The parts of the output that follow each of `lines`, in pieces. No part is empty.

    Git repeats each line of its input before the diff. A line of a diff is never the same: none begins with an id.
    """
    data, number = b"\n", -1
    for chunk in chunks:
        data += chunk
        while number + 1 < len(lines):
            before, line, after = data.partition(b"\n" + lines[number + 1])
            if not line:
                break
            if number >= 0:
                yield number, before + b"\n"
            data, number = after, number + 1
        # While a line is awaited, the end of the data may be its beginning.
        end = len(data) if number + 1 == len(lines) else len(data) - len(lines[number + 1])
        if number >= 0 and end > 0:
            yield number, data[:end]
            data = data[end:]
    if data:
        yield number, data
