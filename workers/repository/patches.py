"""Apply a stored patch to a tree: completely, or not at all and with an error that says where it fails."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from workers.errors import EngineError, Stage
from workers.repository.binary_patches import binary_bytes
from workers.repository.git import Git, GitFailed, OverLimit
from workers.repository.index_file import read_index, write_index
from workers.repository.objects import Objects
from workers.repository.partial import write_tree
from workers.repository.trees import TreePaths, rewrite, temporary_index

_APPLY = ("apply", "--cached", "--binary", "--whitespace=nowarn", "--numstat", "-z", "--apply")
_MARK = re.compile(rb"(?P<file>diff --git .*)|(?P<hunk>@@ )|(?P<binary>GIT binary patch)")
# Lines that name a file before the change.
_NAMED = re.compile(rb"(?:--- |rename from |copy from )(?P<one>.+)|diff --git (?P<both>.+)")
_ESCAPED = re.compile(rb"\\([0-7]{3}|.)")
_ESCAPES = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_FAILED_HUNK = re.compile(r"^error: patch failed: (.+):(\d+)$", re.MULTILINE)
_ERROR = re.compile(r"^(?:error|fatal): (.+)$", re.MULTILINE)
_NAME_LENGTH = 500
# Of longer paths or more folders, git writes the trees, under its limits.
_LONGEST_PATH = 4096
_MOST_FOLDERS = 1000
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


def apply_patch(git: Git, objects: Objects, base: str, patch: IO[bytes]) -> str:
    """Apply `patch`, an open file on disk, to the tree or commit `base`. Returns the new tree.

    Raises what `apply_to_index` does. Its size is checked before (`check_size`).
    """
    return _applied_to_named(git, objects, base, patch) or _applied_to_all(git, base, patch)


def _applied_to_named(git: Git, objects: Objects, base: str, patch: IO[bytes]) -> str | None:
    """The new tree, if the patch applies to an index of the files that it names. It need not be all that it changes: what
    is missing there can neither be changed nor removed, and what is new must have a place in the base."""
    if not _are_few(names_in(patch)):
        return None
    tree = objects.id_of(f"{base}^{{tree}}")
    paths = TreePaths(objects, tree)
    named = ((name, paths.entry(name)) for name in names_in(patch))
    before = {name: entry for name, entry in named if entry and not entry.is_tree}
    with temporary_index(git) as temporary, suppress(DoesNotApply):
        assert temporary.index is not None
        write_index(temporary.index, before, git.object_format)
        apply_to_index(temporary, base, patch)
        after = read_index(temporary.index, git.object_format)
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        if _are_few(changed) and all(_is_free(paths, path) for path in after.keys() - before.keys()):
            return rewrite(objects, tree, {path: after.get(path) for path in changed})
    return None


def _are_few(paths: Iterable[bytes]) -> bool:
    """Whether the folders of these paths are so few that it takes little time and memory to write their trees here."""
    folders: set[bytes] = set()
    for path in paths:
        if len(path) > _LONGEST_PATH:
            return False
        while (path := path.rpartition(b"/")[0]) and path not in folders:
            folders.add(path)
        if len(folders) > _MOST_FOLDERS:
            return False
    return True


def _is_free(paths: TreePaths, path: bytes) -> bool:
    """Whether a new file may be at the path: nothing is there, and no file is in the place of a folder above."""
    parts = path.split(b"/")
    entries = (paths.entry(b"/".join(parts[:depth])) for depth in range(1, len(parts) + 1))
    return next((each is None for each in entries if each is None or not each.is_tree), False)


def _applied_to_all(git: Git, base: str, patch: IO[bytes]) -> str:
    """The new tree, by an index of all files. Says why a patch does not apply."""
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


def names_in(patch: IO[bytes]) -> Iterator[bytes]:
    """Names of the files that a patch changes, renames or copies, and others: lines of content may look the same."""
    for line in line_starts(patch):
        found = _NAMED.match(line.rstrip(b"\n"))
        if found and found["one"] is not None:
            name = _unquoted(found["one"].rstrip(b"\t"))
            yield name
            yield name.partition(b"/")[2]
        elif found:
            # Both names are the same where no other line has them.
            yield _unquoted(found["both"][: len(found["both"]) // 2]).partition(b"/")[2]


def _unquoted(name: bytes) -> bytes:
    """The name of a file that git has quoted as C does, if it has."""
    if not (len(name) > 1 and name.startswith(b'"') and name.endswith(b'"')):
        return name
    return _ESCAPED.sub(lambda found: _byte(found[1]), name[1:-1])


def _byte(escaped: bytes) -> bytes:
    return bytes([int(escaped, 8) & 0xFF]) if len(escaped) == 3 else _ESCAPES.get(escaped, escaped)


def _reason(errors: str) -> str:
    """Why the first failing part did not apply, with the file and the line of its hunk."""
    if hunk := _FAILED_HUNK.search(errors):
        return f"the content of {hunk[1]} differs from what the hunk at line {hunk[2]} expects"
    error = _ERROR.search(errors)
    return (error[1] if error else errors.strip() or "git gave no reason")[:_NAME_LENGTH]
