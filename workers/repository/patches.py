"""Applying a stored patch to a tree: all of it, or none and an error that says where."""

from __future__ import annotations

import mmap
import os
import re
from dataclasses import dataclass
from typing import IO

from workers.errors import EngineError, Stage
from workers.repository.git import Git, GitFailed

_APPLY = ("apply", "--cached", "--binary", "--whitespace=nowarn", "--numstat", "-z", "--apply")
_MARK = re.compile(
    rb"^(?:(?P<file>diff --git .*)|(?P<hunk>@@ )|(?P<binary>GIT binary patch)|(?P<sign>[-+]))", re.MULTILINE
)
_FAILED_HUNK = re.compile(r"^error: patch failed: (.+):(\d+)$", re.MULTILINE)
_ERROR = re.compile(r"^(?:error|fatal): (.+)$", re.MULTILINE)
_NAME_LENGTH = 500


@dataclass
class _File:
    """What a patch has for one file. `lines` are those it adds and removes, None where it is binary."""

    header: bytes
    lines: tuple[int, int] | None = (0, 0)


class DoesNotApply(EngineError):
    """A patch, or a part of it, does not apply: `diff_does_not_apply`."""

    def __init__(self, stage: Stage, base: str, reason: str) -> None:
        message = (
            f"The runner's diff does not apply to its base {base}: {reason}. Put a mended diff in its place with PATCH, "
            "or revert to an earlier session or to the base."
        )
        super().__init__("diff_does_not_apply", stage, message)


def patched(git: Git, base: str, patch: IO[bytes]) -> str:
    """The tree that `patch`, an open file on the disk, makes of the tree or commit `base`, left in the index of `git`.

    Raises DoesNotApply where any part of the patch does not apply: git passes over what it does
    not understand, and may end well after that, so its own count is compared with what stands in the patch.
    """
    git.run("read-tree", base)
    # Git takes a patch without any content for a mistake.
    if patch.seek(0, os.SEEK_END):
        patch.seek(0)
        try:
            counted = git.run(*_APPLY, stdin=patch)
        except GitFailed as failed:
            raise DoesNotApply(git.stage, base, _reason(failed.errors)) from failed
        if missing := _find_missing(patch, counted):
            raise DoesNotApply(git.stage, base, f"git cannot read what it has for {missing}")
    return git.line("write-tree")


def _find_missing(patch: IO[bytes], counted: bytes) -> str | None:
    """The first file of the patch of which git did not take everything, by its header."""
    taken = [record.split(b"\t", 2)[:2] for record in counted.split(b"\0") if record]
    files = _files(patch)
    for place, file in enumerate(files):
        expected = [b"-", b"-"] if file.lines is None else [b"%d" % number for number in file.lines]
        if place >= len(taken) or taken[place] != expected:
            return file.header.removeprefix(b"diff --git ").decode(errors="replace")[:_NAME_LENGTH]
    return None if len(files) == len(taken) else "a file without a header"


def _files(patch: IO[bytes]) -> list[_File]:
    """The files of a patch. Every line of content begins with a sign, so only a header can look like one."""
    files: list[_File] = []
    in_hunks = False
    with mmap.mmap(patch.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for mark in _MARK.finditer(content):
            if header := mark["file"]:
                files.append(_File(header))
                in_hunks = False
            elif files and mark["binary"]:
                files[-1].lines = None
            elif files and files[-1].lines is not None:
                in_hunks = in_hunks or mark["hunk"] is not None
                if in_hunks and (sign := mark["sign"]):
                    added, removed = files[-1].lines
                    files[-1].lines = (added + 1, removed) if sign == b"+" else (added, removed + 1)
    return files


def _reason(errors: str) -> str:
    """What git says of the first thing that did not apply, with the file and the line of its hunk."""
    if hunk := _FAILED_HUNK.search(errors):
        return f"{hunk[1]} has other content where the hunk at line {hunk[2]} changes it"
    said = _ERROR.search(errors)
    return (said[1] if said else errors.strip() or "git gave no reason")[:_NAME_LENGTH]
