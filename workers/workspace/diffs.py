"""The diffs of a session, from tree to tree, handled as bytes throughout.

`git apply --binary` of what is stored, on the tree it starts from, gives the tree it ends with, byte for byte.
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
from workers.repository.git import Git
from workers.repository.patches import DoesNotApply, apply_patch
from workers.repository.trees import Change, changes, fields_of, holds_secret, temporary_index
from workers.workspace.preparation import ATTRIBUTES
from workers.workspace.workspace import Workspace

# Renames are looked for as long as they are few. Copies are not: it would cost a look at every file of the tree.
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
    """Which diffs there were to write, and whether the cumulative one contains a secret that is known."""

    result: bool = False
    cumulative: bool = False
    contains_secret: bool = False


def write_diffs(workspace: Workspace, job: Job, final_tree: str) -> Written:
    """Write the session's own diff and the cumulative one to the job's sink, unaltered whatever they contain.

    An empty diff is not written, and neither is any in mode "ask". Both are made completely before the first is
    stored, so that none is stored alone because the other was too large. Raises EngineError `too_many_files` and
    `diff_too_large` with stage diff, and whatever the sink raises.
    """
    if job.mode == "ask":
        return Written()
    git = workspace.saving
    with tempfile.TemporaryFile(dir=workspace.root) as result, tempfile.TemporaryFile(dir=workspace.root) as cumulative:
        changed = _make(git, workspace.start_tree, final_tree, job.limits, result)
        has_result = has_cumulative = bool(changed)
        if workspace.start_tree == workspace.base_tree:
            cumulative = result
        else:
            changed = _make(git, workspace.base_tree, final_tree, job.limits, cumulative)
            has_cumulative = bool(changed)
        contains_secret = has_cumulative and holds_secret(git, changed, job.secrets)
        if has_result:
            _store(job, "result", result, contains_secret)
        if has_cumulative:
            _store(job, "cumulative", cumulative, contains_secret)
        return Written(has_result, has_cumulative, contains_secret)


def _make(git: Git, old: str, new: str, limits: Limits, file: IO[bytes]) -> list[Change]:
    """Write the diff to `file`, and return what changed. Files are counted before anything is made."""
    with closing(changes(git, old, new)) as found:
        changed = list(itertools.islice(found, limits.max_diff_files + 1))
    if len(changed) > limits.max_diff_files:
        raise too_many_files(limits.max_diff_files)
    if changed:
        _take_big_ones_for_binary(git, changed)
        _compare(git, "--find-renames", old, new, limits, file)
        # Git writes some renames so that it refuses to apply them, among them that of a link that a folder replaced.
        if not _leads_to(git, old, new, file):
            _compare(git, "--no-renames", old, new, limits, file)
    return changed


def _take_big_ones_for_binary(git: Git, changed: list[Change]) -> None:
    """Have every changed file that is too big for it compared as bytes.

    As text git needs 41 bytes for each line, and where no line is like another a time that grows with the square of
    their number. `core.bigFileThreshold` does not do it: with `--binary` git looks at the beginning of a file only.
    """
    with tempfile.TemporaryFile(dir=git.directory) as ids:
        ids.writelines(change.old_id + b"\n" + change.new_id + b"\n" for change in changed)
        ids.seek(0)
        with (
            closing(git.stream("cat-file", "--batch-check=%(objectsize)", "--buffer", stdin=ids)) as output,
            open(git.directory / "info" / "attributes", "wb") as attributes,
        ):
            attributes.write(ATTRIBUTES.encode())
            sizes = fields_of(output, b"\n")
            for change, *both in zip(changed, sizes, sizes, strict=True):
                # What is on one side only has no size on the other, and a submodule has none at all.
                if any(size.isdigit() and int(size) > _BIG_TEXT for size in both):
                    attributes.write(_only(change.path) + b" -diff\n")


def _only(path: bytes) -> bytes:
    """The pattern of gitattributes(5) that one path matches and no other, quoted as it may hold anything."""
    literal = re.sub(rb"[\\*?\[]", rb"\\\g<0>", path)
    return b'"/' + re.sub(rb"[^ !#-\[\]-~]", lambda byte: b"\\%03o" % ord(byte[0]), literal) + b'"'


def _compare(git: Git, renames: str, old: str, new: str, limits: Limits, file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()
    with closing(git.stream(*_DIFF, renames, old, new, "--")) as chunks:
        for chunk in chunks:
            file.write(chunk)
            if file.tell() > limits.max_diff_bytes:
                message = f"The diff is larger than {limits.max_diff_bytes} bytes."
                raise EngineError("diff_too_large", "diff", message)


def _leads_to(git: Git, old: str, new: str, file: IO[bytes]) -> bool:
    """Whether the diff, applied to `old`, gives `new`: the next session and every publication begin with that."""
    with temporary_index(git) as temporary, suppress(DoesNotApply):
        return apply_patch(temporary, old, file) == new
    return False


def _store(job: Job, kind: DiffKind, file: IO[bytes], contains_secret: bool) -> None:
    job.sink.write(kind, _Chunks(file), contains_secret=contains_secret)


class _Chunks:
    """The bytes of a file, from its start each time that they are gone through."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        return iter(functools.partial(self._file.read, _CHUNK), b"")
