"""The output of git in a file."""

from __future__ import annotations

import os
import signal
import subprocess
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


@pytest.mark.parametrize("has_it", [True, False])
def test_git_ends_on_systems_without_pidfd_open_too(git: Git, monkeypatch: pytest.MonkeyPatch, has_it: bool) -> None:
    """Some builds of Python lack it, and some sandboxes refuse it."""

    def refuse(pid: int, flags: int = 0) -> int:
        raise PermissionError

    monkeypatch.delattr(os, "pidfd_open", raising=False)
    if has_it:
        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    with git.started(("cat-file", "--batch"), subprocess.PIPE) as popen:
        assert popen.poll() is None
    assert popen.returncode == -signal.SIGTERM


def test_a_failure_says_why(git: Git, tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file, pytest.raises(GitFailed, match="missing"):
        git.write("cat-file", "blob", "HEAD:missing", file=file)


def test_a_file_that_becomes_too_large_is_an_error(git: Git, tmp_path: Path) -> None:
    limited = replace(git, limits=GitLimits(disk_bytes=MEGABYTE))
    with open(tmp_path / "file", "wb") as file, pytest.raises(OverLimit):
        limited.write("cat-file", "blob", "HEAD:large", file=file)
