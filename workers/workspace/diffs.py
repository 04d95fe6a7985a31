"""The diffs of a session, from tree to tree, handled as bytes throughout.

`git apply --binary` of a stored diff, on the tree that it starts from, gives the tree that it ends with, byte for byte.
"""

from __future__ import annotations

import functools
import itertools
import re
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import IO

from workers.errors import EngineError, too_many_files
from workers.job import DiffKind, Job, Limits
from workers.repository.forbidden import may_be_forbidden
from workers.repository.git import Git
from workers.repository.index_file import read_index, write_index
from workers.repository.objects import Entry, Objects
from workers.repository.patches import DoesNotApply, apply_to_index
from workers.repository.trees import Change, changes, holds_secret, temporary_index
from workers.workspace.preparation import ATTRIBUTES
from workers.workspace.workspace import Workspace

# Renames are detected if they are few. Copies are not: git would have to read every file of the tree.
_DIFF = (
    "diff",
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
_CHUNK = 1 << 18
_BIG_TEXT = 8 * 1024**2


@dataclass(frozen=True)
class Written:
    """Which diffs were written, and whether the cumulative one contains a known secret.

    `may_be_forbidden`: it changes a path that git might forbid.
    """

    result: bool = False
    cumulative: bool = False
    contains_secret: bool = False
    may_be_forbidden: bool = False


def write_diffs(workspace: Workspace, job: Job, final_tree: str) -> Written:
    """Write the session's result diff and the cumulative diff to the job's sink, unchanged whatever they contain.

    An empty diff is not written, and none is in mode "ask". Both are made before the first is stored, so that neither
    is stored alone because the other is too large. Raises EngineError `too_many_files` and `diff_too_large` with stage
    diff, and whatever the sink raises.
    """
    if job.mode == "ask":
        return Written()
    git = workspace.saving
    objects = workspace.objects
    with tempfile.TemporaryFile(dir=workspace.root) as result, tempfile.TemporaryFile(dir=workspace.root) as cumulative:
        changed = _make(git, objects, workspace.start_tree, final_tree, job.limits, result)
        has_result = has_cumulative = bool(changed)
        if workspace.start_tree == workspace.base_tree:
            cumulative = result
        else:
            changed = _make(git, objects, workspace.base_tree, final_tree, job.limits, cumulative)
            has_cumulative = bool(changed)
        contains_secret = has_cumulative and holds_secret(objects, changed, job.secrets)
        # The store may be waited for, and a stop meanwhile must leave no process behind.
        workspace.close_objects()
        if has_result:
            _store(job, "result", result, contains_secret)
        if has_cumulative:
            _store(job, "cumulative", cumulative, contains_secret)
        return Written(has_result, has_cumulative, contains_secret, may_be_forbidden(changed))


def _make(git: Git, objects: Objects, old: str, new: str, limits: Limits, file: IO[bytes]) -> list[Change]:
    """Write the diff to `file`, and return the changes. Files are counted before the diff is made."""
    changed = list(itertools.islice(changes(objects, old, new), limits.max_diff_files + 1))
    if len(changed) > limits.max_diff_files:
        raise too_many_files(limits.max_diff_files)
    if changed:
        _mark_big_files_as_binary(git, objects, changed)
        _compare(git, "--find-renames", old, new, limits, file)
        # Git refuses to apply some of the renames that it writes, such as that of a link that a folder replaced.
        if not _leads_to(git, old, changed, file):
            _compare(git, "--no-renames", old, new, limits, file)
    return changed


def _mark_big_files_as_binary(git: Git, objects: Objects, changed: list[Change]) -> None:
    """Make git compare changed files that are too big for a text comparison as binary.

    A text comparison needs 41 bytes for each line, and if no two lines are equal, time that grows with the square of
    their number. `core.bigFileThreshold` has no effect here: with `--binary` git reads only the beginning of a file.
    """
    sizes = objects.sizes(each for change in changed for each in (change.old_id, change.new_id))
    with open(git.directory / "info" / "attributes", "wb") as attributes:
        attributes.write(ATTRIBUTES.encode())
        for change, *both in zip(changed, sizes, sizes, strict=True):
            # An added or deleted file has a size on one side only, and a submodule has none.
            if any(size is not None and size > _BIG_TEXT for size in both):
                attributes.write(_only(change.path) + b" -diff\n")


def _only(path: bytes) -> bytes:
    """The pattern of gitattributes(5) that matches this path only. It is quoted: a path may contain any byte."""
    literal = re.sub(rb"[\\*?\[]", rb"\\\g<0>", path)
    return b'"/' + re.sub(rb"[^ !#-\[\]-~]", lambda byte: b"\\%03o" % ord(byte[0]), literal) + b'"'


def _compare(git: Git, renames: str, old: str, new: str, limits: Limits, file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()
    with closing(git.stream(*_DIFF, renames, old, new, "--")) as chunks:
        for chunk in chunks:
            file.write(chunk)
            if file.tell() > limits.max_diff_bytes:
                message = (
                    f"The diff is larger than the limit of {limits.max_diff_bytes:,} bytes. Change less in one "
                    "session, let .gitignore exclude generated files, or raise AGENT_RUNNERS_MAX_DIFF_BYTES."
                )
                raise EngineError("diff_too_large", "diff", message)


def _leads_to(git: Git, old: str, changed: list[Change], file: IO[bytes]) -> bool:
    """Whether the diff, applied to the old side of the changes, gives the new one.

    The next session and every publication require that. A diff touches only paths that it names, so the other files
    of the tree are not needed.
    """
    before = {change.path: Entry(change.old_mode, change.old_id) for change in changed if change.existed}
    after = {change.path: Entry(change.new_mode, change.new_id) for change in changed if change.exists}
    with temporary_index(git) as temporary, suppress(DoesNotApply):
        assert temporary.index is not None
        write_index(temporary.index, before)
        apply_to_index(temporary, old, file)
        return read_index(temporary.index) == after
    return False


def _store(job: Job, kind: DiffKind, file: IO[bytes], contains_secret: bool) -> None:
    job.sink.write(kind, _Chunks(file), contains_secret=contains_secret)


class _Chunks:
    """The bytes of a file, from its start for each iteration."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        return iter(functools.partial(self._file.read, _CHUNK), b"")
