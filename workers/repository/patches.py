"""Apply a stored patch to a tree: completely, or not at all and with an error that says where it fails."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from workers.errors import EngineError, Stage
from workers.repository.binary_patches import binary_bytes
from workers.repository.git import Git, GitFailed, OverLimit
from workers.repository.partial import write_tree

_APPLY = ("apply", "--cached", "--binary", "--whitespace=nowarn", "--numstat", "-z", "--apply")
_MARK = re.compile(rb"(?P<file>diff --git .*)|(?P<hunk>@@ )|(?P<binary>GIT binary patch)")
_FAILED_HUNK = re.compile(r"^error: patch failed: (.+):(\d+)$", re.MULTILINE)
_ERROR = re.compile(r"^(?:error|fatal): (.+)$", re.MULTILINE)
_NAME_LENGTH = 500
_PIECE_BYTES = 65_536
# Files without hunks share it: a patch may change the modes of a million.
_NO_LINES = {b"+": 0, b"-": 0}


@dataclass(slots=True)
class _File:
    """One file of a patch. `lines` counts the lines it adds and removes, by their sign; None for a binary file."""

    header: bytes
    lines: dict[bytes, int] | None


class DoesNotApply(EngineError):
    """A patch, or a part of it, does not apply: `diff_does_not_apply`."""

    def __init__(self, stage: Stage, base: str, reason: str) -> None:
        message = (
            f"The runner's diff does not apply to its base {base}: {reason}. Replace it with a corrected diff (PATCH), "
            "or revert to an earlier session or to the base."
        )
        super().__init__("diff_does_not_apply", stage, message)


def apply_patch(git: Git, base: str, patch: IO[bytes]) -> str:
    """Apply `patch`, an open file on disk, to the tree or commit `base` in the index of `git`. Returns the new tree.

    Raises what `check_size` and `apply_to_index` do.
    """
    check_size(git, patch)
    git.run("read-tree", base)
    apply_to_index(git, base, patch)
    return write_tree(git)


def check_size(git: Git, patch: IO[bytes]) -> None:
    """Raise EngineError `diff_too_large` if the binary files of a stored patch exceed the limit on disk space of `git`.

    Not for a patch that was just made of files that exist: a session that ended at that limit must not lose its work.
    """
    if binary_bytes(patch) > git.limits.disk_bytes:
        raise _too_large(git, f"its binary files are larger than the limit of {git.limits.disk_bytes:,} bytes")


def apply_to_index(git: Git, base: str, patch: IO[bytes]) -> None:
    """Apply `patch`, an open file on disk, to the index of `git`, which holds `base` or what the patch changes of it.

    Raises DoesNotApply if any part does not apply, and EngineError `diff_too_large` if git reaches one of its limits. Git
    skips what it does not understand and may still exit with 0, so the files and lines that it reports are compared with
    those in the patch.
    """
    if not patch.seek(0, os.SEEK_END):
        return  # Git rejects an empty patch.
    patch.seek(0)
    try:
        counted = git.run(*_APPLY, stdin=patch)
    except GitFailed as failed:
        raise DoesNotApply(git.stage, base, _reason(failed.errors)) from failed
    except OverLimit as error:
        raise _too_large(git, "to apply it, git needs more memory or disk space than its limit") from error
    if missing := _find_missing(patch, counted):
        raise DoesNotApply(git.stage, base, f"git cannot read its part for {missing}")


def _too_large(git: Git, reason: str) -> EngineError:
    message = (
        f"The runner's diff is too large: {reason}. Replace it with a smaller diff (PATCH), or revert to an earlier "
        "session or to the base."
    )
    return EngineError("diff_too_large", git.stage, message)


def _find_missing(patch: IO[bytes], counted: bytes) -> str | None:
    """The header of the first file that git did not apply completely."""
    applied = [record.split(b"\t", 2)[:2] for record in counted.split(b"\0") if record]
    files = _files(patch)
    for place, file in enumerate(files):
        expected = [b"-", b"-"] if file.lines is None else [b"%d" % number for number in file.lines.values()]
        if place >= len(applied) or applied[place] != expected:
            return file.header.removeprefix(b"diff --git ").decode(errors="replace")[:_NAME_LENGTH]
    return None if len(files) == len(applied) else "a file without a header"


def _files(patch: IO[bytes]) -> list[_File]:
    """The files of a patch. Lines of content begin with a sign, so only a header can match as a header."""
    files: list[_File] = []
    # Of the file whose hunks are read; its header has lines with signs too.
    counts: dict[bytes, int] | None = None
    for start in line_starts(patch):
        sign = start[:1]
        if counts is not None and sign in counts:
            counts[sign] += 1
        elif mark := _MARK.match(start):
            if header := mark["file"]:
                files.append(_File(header, _NO_LINES))
                counts = None
            elif files and mark["binary"]:
                files[-1].lines = counts = None
            elif files and counts is None and files[-1].lines is not None:
                counts = files[-1].lines = {**_NO_LINES}
    return files


def line_starts(patch: IO[bytes]) -> Iterator[bytes]:
    """The beginning of each line, so that neither a long patch nor a long line takes up memory."""
    patch.seek(0)
    at_start = True
    while piece := patch.readline(_PIECE_BYTES):
        if at_start:
            yield piece
        at_start = piece.endswith(b"\n")


def _reason(errors: str) -> str:
    """Why the first failing part did not apply, with the file and the line of its hunk."""
    if hunk := _FAILED_HUNK.search(errors):
        return f"the content of {hunk[1]} differs from what the hunk at line {hunk[2]} expects"
    error = _ERROR.search(errors)
    return (error[1] if error else errors.strip() or "git gave no reason")[:_NAME_LENGTH]
