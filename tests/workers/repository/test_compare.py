"""Several diffs of one process are kept apart, whatever they contain."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import pytest

from tests.workers.repositories import commit_all, git, make_origin, write
from workers.repository.compare import compare_trees
from workers.repository.git import Git


@pytest.fixture
def trees(tmp_path: Path) -> list[str]:
    """Four trees. From the second one on, a file has the lines with which git begins the diffs."""
    origin = make_origin(tmp_path / "origin", {"x": "as it was"})
    found = [git(origin, "rev-parse", "HEAD^{tree}")]
    for number in range(3):
        write(
            origin, {"x": "".join(f"{one} {two}\n" for one in found for two in found) + "no newline", f"{number}": ""}
        )
        commit_all(origin)
        found.append(git(origin, "rev-parse", "HEAD^{tree}"))
    return found


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_diff_is_found(tmp_path: Path, trees: list[str], count: int) -> None:
    pairs = list(itertools.pairwise(trees))[:count]
    ours = Git(tmp_path / "origin" / ".git", stage="diff")
    with tempfile.TemporaryFile() as file:
        places = compare_trees(ours, pairs, file, find_renames=True)
        file.seek(0)
        made = file.read()
    expected = [git(tmp_path / "origin", "diff", "--full-index", "--binary", *pair) for pair in pairs]
    assert [made[start:end].decode().strip() for start, end in places] == expected


def test_a_diff_that_git_did_not_write_is_missed(tmp_path: Path, trees: list[str]) -> None:
    ours = Git(tmp_path / "origin" / ".git", stage="diff")
    with tempfile.TemporaryFile() as file, pytest.raises(ValueError, match="each pair"):
        compare_trees(ours, [(trees[0], trees[1]), (trees[1], trees[1] + "0")], file, find_renames=True)
