"""The diffs of a session, from tree to tree, handled as bytes throughout.

`git apply --binary` of a stored diff, on the tree that it starts from, gives the tree that it ends with, byte for byte,
and `git apply --binary --reverse` undoes it.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Protocol

from workers.errors import EngineError, too_many_files
from workers.job import DiffKind, Job, Limits
from workers.repository.compare import compare_trees
from workers.repository.forbidden import may_be_forbidden
from workers.repository.git import Git, OverLimit
from workers.repository.index_file import read_index, write_index
from workers.repository.objects import Entry, Objects
from workers.repository.patches import DoesNotApply, apply_to_index
from workers.repository.trees import Change, changes, temporary_index
from workers.workspace.pointers import changed_pointers, moved_submodules
from workers.workspace.preparation import ATTRIBUTES
from workers.workspace.secret_search import searching

_CHUNK = 1 << 18
_BIG_TEXT = 8 * 1024**2
# In half of the time for diffs, git looks for renames and compares files of up to that size as text. In half of the rest, it does
# neither for what is larger than this.
_SHARE, _CPU_SECONDS, _SMALL_TEXT = 1 / 2, 120, 64 * 1024
_LINK = b"120000"


@dataclass(frozen=True)
class Written:
    """Which diffs were written, and whether the cumulative one contains a known secret.

    `is_unsearched`: there was no time left to look for secrets, so the diff is stored as one that contains a secret.
    `is_rough`: the diffs show no renames, and only small files as text, because git took too long otherwise. `may_be_forbidden`: it changes a path that git might forbid. `submodules` and `lfs_pointers` have a line on each of
    those that the session changed.
    """

    result: bool = False
    cumulative: bool = False
    contains_secret: bool = False
    may_be_forbidden: bool = False
    submodules: tuple[str, ...] = ()
    lfs_pointers: tuple[str, ...] = ()
    is_unsearched: bool = False
    is_rough: bool = False


class Trees(Protocol):
    """What a session started from, in a repository that has its objects. `Workspace` is one.

    `root` is a folder for temporary files, and `saving` runs git commands. `objects` reads until `close_objects`.
    """

    @property
    def root(self) -> Path: ...
    @property
    def saving(self) -> Git: ...
    @property
    def objects(self) -> Objects: ...
    @property
    def base_tree(self) -> str: ...
    @property
    def session_tree(self) -> str: ...
    def close_objects(self) -> None: ...


def write_diffs(workspace: Trees, job: Job, final_tree: str, *, contains_secret: bool = False) -> Written:
    """Write the session's result diff and the cumulative diff to the job's sink, unchanged whatever they contain.

    `contains_secret`: content that the tree only points to holds a known secret.

    An empty diff is not written, and none is in the modes that keep no changes. Both are made before the first is
    stored, so that neither is stored alone because the other is too large. Raises EngineError `too_many_files` and `diff_too_large` with stage
    diff, and whatever the sink raises.
    """
    if job.mode in ("ask", "plan"):
        return Written()
    objects = workspace.objects
    start, base, most = workspace.session_tree, workspace.base_tree, job.limits.max_diff_files
    with tempfile.TemporaryFile(dir=workspace.root) as file, tempfile.TemporaryFile(dir=workspace.root) as second:
        result = _Diff(start, final_tree, _changes(objects, start, final_tree, most), file)
        cumulative = result
        if base != start:
            cumulative = _Diff(base, final_tree, _changes(objects, base, final_tree, most), second)
        wanted = [diff for diff in ([result] if cumulative is result else [result, cumulative]) if diff.changed]
        sizes = _sizes(objects, wanted)
        submodules, pointers = moved_submodules(result.changed), tuple(changed_pointers(objects, result.changed))
        with searching(objects, () if contains_secret else cumulative.changed, job.secrets) as find_secret:
            is_rough = _make(workspace.saving, sizes, wanted, job.limits)
            found = contains_secret or find_secret()
        # The store may be waited for, and a stop meanwhile must leave no process behind.
        workspace.close_objects()
        for diff in wanted:
            kinds: list[DiffKind] = ["result"] if diff is result else []
            kinds += ["cumulative"] if diff is cumulative else []
            job.sink.write(kinds, Chunks(diff.file), contains_secret=found is not False)
        forbidden = may_be_forbidden(cumulative.changed)
        has = (bool(result.changed), bool(cumulative.changed))
        return Written(*has, bool(found), forbidden, tuple(submodules), pointers, found is None, is_rough)


def make_diff(git: Git, objects: Objects, old: str, new: str, limits: Limits, file: IO[bytes]) -> bool:
    """Write the diff from one tree to another to `file`. False: they are equal. Raises EngineError as `write_diffs`."""
    diff = _Diff(old, new, _changes(objects, old, new, limits.max_diff_files), file)
    wanted = [diff] if diff.changed else []
    _make(git, _sizes(objects, wanted), wanted, limits)
    return bool(diff.changed)


@dataclass(frozen=True)
class _Diff:
    """A diff between two trees, which differ in `changed`, and the file that it is written to."""

    old: str
    new: str
    changed: list[Change]
    file: IO[bytes]

    @property
    def may_have_renames(self) -> bool:
        """Whether git could find a renamed file: there is one that is gone, and one that is new."""
        return not all(change.existed for change in self.changed) and not all(change.exists for change in self.changed)

    @property
    def swaps_link_and_folder(self) -> bool:
        """Whether a link took the place of a folder, or a folder that of a link."""
        links = {change.path for change in self.changed if _LINK in (change.old_mode, change.new_mode)}
        return bool(links) and any(
            change.path[: slash.start()] in links for change in self.changed for slash in re.finditer(b"/", change.path)
        )


def _changes(objects: Objects, old: str, new: str, most: int) -> list[Change]:
    """How two trees differ. Files are counted before a diff is made."""
    changed = list(itertools.islice(changes(objects, old, new), most + 1))
    if len(changed) > most:
        raise too_many_files(most)
    return changed


def _sizes(objects: Objects, wanted: Sequence[_Diff]) -> dict[bytes, int | None]:
    """The size of each object that the diffs compare, by its id."""
    changed = [change for diff in wanted for change in diff.changed]
    old, new = (each.old_id for each in changed if each.existed), (each.new_id for each in changed if each.exists)
    # Git looks longest for what is not there, such as a file before it was added.
    ids = list(dict.fromkeys([*old, *new]))
    return dict(zip(ids, objects.sizes(ids), strict=True))


def _make(git: Git, sizes: Mapping[bytes, int | None], wanted: Sequence[_Diff], limits: Limits) -> bool:
    """Write the diffs to their files. None of them is empty. Returns whether they are rough, see `Written`."""
    changed = {change for diff in wanted for change in diff.changed}
    if not changed:
        return False
    try:
        _mark_big_files_as_binary(git, sizes, changed, _BIG_TEXT)
        _make_well(git.for_part(_SHARE, _CPU_SECONDS), wanted, limits)
        return False
    except TimeoutError:
        _mark_big_files_as_binary(git, sizes, changed, _SMALL_TEXT)
        _compare(git.for_part(_SHARE), wanted, limits, find_renames=False)
        return True


def _make_well(git: Git, wanted: Sequence[_Diff], limits: Limits) -> None:
    _compare(git, wanted, limits, find_renames=True)
    for diff in wanted:
        # Git refuses to apply, or to undo, some of the renames that it writes: that of a link does not say that it is
        # one, so what a folder in its place holds counts as behind the link. Where git finds none, the diff is the same
        # without them.
        if diff.may_have_renames and (diff.swaps_link_and_folder or not _leads_to(git, diff)):
            _compare(git, [diff], limits, find_renames=False)


def _mark_big_files_as_binary(
    git: Git, sizes: Mapping[bytes, int | None], changed: Collection[Change], most: int
) -> None:
    """Make git compare changed files of more than `most` bytes, which is too much for a text comparison, as binary.

    A text comparison needs 41 bytes for each line, and if no two lines are equal, time that grows with the square of
    their number. `core.bigFileThreshold` has no effect here: with `--binary` git reads only the beginning of a file.
    """
    with open(git.directory / "info" / "attributes", "wb") as attributes:
        attributes.write(ATTRIBUTES.encode())
        for change in changed:
            # An added or deleted file has a size on one side only, and a submodule has none.
            if any((sizes.get(each) or 0) > most for each in (change.old_id, change.new_id)):
                attributes.write(_only(change.path) + b" -diff\n")


def _only(path: bytes) -> bytes:
    """The pattern of gitattributes(5) that matches this path only. It is quoted: a path may contain any byte."""
    literal = re.sub(rb"[\\*?\[]", rb"\\\g<0>", path)
    return b'"/' + re.sub(rb"[^ !#-\[\]-~]", lambda byte: b"\\%03o" % ord(byte[0]), literal) + b'"'


def _compare(git: Git, wanted: Sequence[_Diff], limits: Limits, *, find_renames: bool) -> None:
    most = limits.max_diff_bytes * len(wanted)
    git = replace(git, limits=replace(git.limits, disk_bytes=most))
    with tempfile.TemporaryFile(dir=git.directory) as made:
        try:
            parts = compare_trees(git, [(diff.old, diff.new) for diff in wanted], made, find_renames=find_renames)
        except OverLimit as error:
            if made.seek(0, os.SEEK_END) > most:
                raise _too_large(limits) from error
            raise
        for diff, (start, end) in zip(wanted, parts, strict=True):
            if end - start > limits.max_diff_bytes:
                raise _too_large(limits)
            diff.file.seek(0)
            diff.file.truncate()
            made.seek(start)
            for at in range(start, end, _CHUNK):
                diff.file.write(made.read(min(_CHUNK, end - at)))
            _quote_names(git, diff)


def _quote_names(git: Git, diff: _Diff) -> None:
    """Quote the names of files in folders that end with a space.

    Git writes them without quotes, and then cannot read a header that is not followed by names of its own, as that of a
    binary or empty file or of a new mode.
    """
    names = [change.path for change in diff.changed if b" /" in change.path]
    quoted = {b"diff --git a/%s b/%s\n" % (name, name): b'diff --git "a/%s" "b/%s"\n' % (name, name) for name in names}
    if not quoted:
        return
    with tempfile.TemporaryFile(dir=git.directory) as copy:
        diff.file.seek(0)
        # A line of content cannot be the same: it begins with a sign.
        copy.writelines(quoted.get(line, line) for line in diff.file)
        for file in (diff.file, copy):
            file.seek(0)
        shutil.copyfileobj(copy, diff.file)


def _too_large(limits: Limits) -> EngineError:
    message = (
        f"The diff is larger than the limit of {limits.max_diff_bytes:,} bytes. Change less in one "
        "session, let .gitignore exclude generated files, or raise AGENT_RUNNERS_MAX_DIFF_BYTES."
    )
    return EngineError("diff_too_large", "diff", message)


def _leads_to(git: Git, diff: _Diff) -> bool:
    """Whether the diff, applied to the old side of the changes, gives the new one.

    The next session and every publication require that. A diff touches only paths that it names, so the other files
    of the tree are not needed.
    """
    before = {change.path: Entry(change.old_mode, change.old_id) for change in diff.changed if change.existed}
    after = {change.path: Entry(change.new_mode, change.new_id) for change in diff.changed if change.exists}
    with temporary_index(git) as temporary, suppress(DoesNotApply):
        assert temporary.index is not None
        write_index(temporary.index, before, git.object_format)
        apply_to_index(temporary, diff.old, diff.file)
        return read_index(temporary.index, git.object_format) == after
    return False


class Chunks:
    """The bytes of a file, from its start for each iteration."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        return iter(functools.partial(self._file.read, _CHUNK), b"")
