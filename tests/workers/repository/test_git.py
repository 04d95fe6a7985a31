"""The output of git in a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.workers.repositories import make_origin
from workers.limits.git_limits import GitLimits
from workers.repository.git import Git, GitFailed, OverLimit

MEGABYTE = 1024**2


@pytest.fixture
def git(tmp_path: Path) -> Git:
    origin = make_origin(tmp_path / "origin", {"large": "x" * 5 * MEGABYTE, "small": "y"})
    return Git(origin / ".git", stage="diff")


def test_output_is_written_from_the_place_of_the_file_on(git: Git, tmp_path: Path) -> None:
    with open(tmp_path / "file", "w+b") as file:
        file.write(b"before ")
        file.flush()
        git.write("cat-file", "blob", "HEAD:small", file=file)
        assert file.tell() == 8
        file.seek(0)
        assert file.read() == b"before y"


def test_a_failure_says_why(git: Git, tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file, pytest.raises(GitFailed, match="missing"):
        git.write("cat-file", "blob", "HEAD:missing", file=file)


def test_a_file_that_becomes_too_large_is_an_error(git: Git, tmp_path: Path) -> None:
    limited = replace(git, limits=GitLimits(disk_bytes=MEGABYTE))
    with open(tmp_path / "file", "wb") as file, pytest.raises(OverLimit):
        limited.write("cat-file", "blob", "HEAD:large", file=file)
