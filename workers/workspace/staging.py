"""Updates our index from the agent's files, as `git add --all` does, and writes its tree.

Host git reads the agent's files here, so it runs only while `hidden` is open.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from workers.errors import FULL_DISK, EngineError, disk_full, too_many_files
from workers.job import Limits
from workers.repository.access import Access
from workers.repository.git import Git, GitFailed
from workers.repository.object_format import ID_LENGTHS
from workers.repository.trees import unchanged_time
from workers.workspace.agent_index import AgentIndex
from workers.workspace.checkouts import Checkout
from workers.workspace.earlier_rules import NOTE as RULES_NOTE
from workers.workspace.earlier_rules import earlier_rules
from workers.workspace.partial_staging import COMPARING_ALL, others, stage_new, stage_tracked
from workers.workspace.submodules import decide_submodules, kind_of
from workers.workspace.untrackable import hidden

# Git refuses some names that are not hidden from it. The other files are staged anyway.
_REFUSED_NAME = ("error: invalid path ", "error: unable to add ", "error: unable to index file ", "warning: ", "hint: ")
_REFUSED = re.compile(r"^error: unable to (?:add|index file) '(.*)'(?: to index)?$", re.MULTILINE)
# Git writes big files into one pack. With thousands of files that is much faster than one object file for each. The pack ends
# with the workspace, so it is neither compressed nor written through to the disk, which would take most of the time: a session
# that a loss of power interrupts begins again.
_INTO_ONE_PACK = Access(
    config=(
        ("core.bigFileThreshold", "1"),
        ("core.fsync", "none"),
        ("pack.compression", "0"),
        ("advice.addEmbeddedRepo", "false"),
        COMPARING_ALL,
    ),
    # For each file git allocates and frees some hundred kilobytes. With this the C library keeps them (mallopt(3)) instead of
    # returning them to the kernel each time, which would take a third of the time.
    variables=(("MALLOC_TRIM_THRESHOLD_", str(16 * 1024**2)),),
)
_TOO_SLOW = (
    "Git could not read the files in time. Write fewer or smaller files, let .gitignore exclude them, and use no patterns with "
    "many `**` in .gitignore and .gitattributes."
)
# Patterns can keep a processor busy for ever; reading files takes no more than this.
_LEAST_CPU_SECONDS, _BYTES_A_SECOND = 60, 50 * 1024**2
# Of the time that is left. Diffs are made in the rest.
_FIRST_SHARE, _SECOND_SHARE = 1 / 3, 1 / 2


@dataclass
class Staged:
    """The tree of the index, and what it does not contain: paths that are `left_out`, and `notes` about other losses.

    `repositories` are the folders with a nested repository that is not a submodule.
    """

    tree: str
    left_out: list[str]
    notes: list[str] = field(default_factory=list)
    repositories: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Work:
    """What is staged: all files in `checkout`, which is one of `files`; with `diff_limits`, only what fits into such a diff.

    `before` is the tree that the work started from, with its `submodules` and their commits. `most_new` is the maximum
    number of new files. `aside` is a folder beside the checkout.
    """

    checkout: Path
    aside: Path
    files: Checkout
    before: str
    submodules: Mapping[bytes, str]
    agent_index: AgentIndex | None = None
    most_new: int | None = None
    diff_limits: Limits | None = None


def stage(git: Git, work: Work) -> Staged:
    """Stage the work. With `diff_limits`, the ignore rules of before count if those in the checkout take too long.

    No process of the agent may be running. Raises EngineError `snapshot_failed`, `too_many_files` and `disk_full`.
    """
    cpu_seconds = _LEAST_CPU_SECONDS + git.limits.disk_bytes // _BYTES_A_SECOND
    try:
        if not work.diff_limits:
            return _stage(git.for_part(1, cpu_seconds), work)
        try:
            return _stage(git.for_part(_FIRST_SHARE, cpu_seconds), work)
        except TimeoutError:
            return _stage(git.for_part(_SECOND_SHARE, cpu_seconds), work, with_rules=False)
    except TimeoutError as error:
        raise EngineError("snapshot_failed", "diff", _TOO_SLOW) from error
    except OSError as error:
        if error.errno in FULL_DISK:
            raise disk_full("diff") from error
        raise EngineError("snapshot_failed", "diff", f"The files could not be read: {error.strerror}.") from error
    except GitFailed as failed:
        raise EngineError("snapshot_failed", "diff", failed.message) from failed


def _stage(git: Git, work: Work, *, with_rules: bool = True) -> Staged:
    """Stage the work, with the rules in the checkout or with those of before. Raises what `Git.run` does, and OSError."""
    checkout, index, files = work.checkout, work.agent_index, work.files
    # If an earlier staging was stopped, git was killed and left its lock. Nothing else uses this index.
    (git.directory / "index.lock").unlink(missing_ok=True)
    _restore_folder(checkout)
    # An earlier call may have staged everything. Then new files could not be left out.
    files.open_index(git, work.before, _mentioned(work.submodules, index), afresh=work.diff_limits is not None)
    with_files = replace(git, work_tree=checkout)
    with hidden(checkout, work.aside, has_whiteouts=files.has_whiteouts) as found:
        decision = decide_submodules(git, checkout, work.before, work.submodules, index, found.repositories)
        _update_index(git, [*decision.removed, *(index.dropped if index else ())], decision.recorded)
        staged = _existing(checkout, index.staged, decision.recorded) if index else []
        if not work.diff_limits:
            if work.most_new is not None and found.files > work.most_new:
                _check_count(with_files, work.most_new)
            skipped = _add_all(with_files)
            _add_ignored(with_files, _ignored(with_files, staged))
        elif with_rules:
            skipped = stage_tracked(with_files, checkout, work.diff_limits)
            skipped += stage_new(with_files, checkout, work.diff_limits, _ignored(with_files, staged))
        else:
            with earlier_rules(git, checkout, work.aside):
                skipped = stage_tracked(with_files, checkout, work.diff_limits)
                skipped += _new_in_time(with_files, checkout, work.diff_limits)
            decision.notes.append(RULES_NOTE)
        tree = files.tree(git, work.before)
    nested = found.repositories - {os.fsdecode(path) for path in decision.recorded}
    return Staged(tree, [*found.left_out, *skipped], decision.notes, nested)


def _new_in_time(git: Git, checkout: Path, limits: Limits) -> list[str]:
    """Stage new files, unless even the rules of before take too long. Returns what was left out."""
    try:
        return stage_new(git.for_part(_SECOND_SHARE), checkout, limits)
    except TimeoutError:
        return ["all new files"]


def _mentioned(submodules: Mapping[bytes, str], agent_index: AgentIndex | None) -> set[bytes]:
    """The paths whose state counts although no file may have changed there."""
    return {*submodules, *agent_index.submodules, *agent_index.dropped} if agent_index else set(submodules)


def _restore_folder(checkout: Path) -> None:
    """Replace a checkout that was deleted or is a link now by an empty folder."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(checkout).st_mode):
            return
        checkout.unlink()
    checkout.mkdir(mode=0o700)


def _update_index(git: Git, dropped: Iterable[bytes], submodules: Mapping[bytes, str]) -> None:
    """Remove the files that the agent's index dropped, and record submodules. Files that are not ignored come back."""
    nothing = b"0" * ID_LENGTHS[git.object_format]
    lines = [b"0 %s\t%s" % (nothing, path) for path in dropped if path not in submodules]
    lines += [b"160000 %s\t%s" % (commit.encode(), path) for path, commit in submodules.items()]
    if lines:
        with _as_input(git, lines) as stdin, unchanged_time(git.directory / "index"):
            git.run("update-index", "-z", "--index-info", stdin=stdin)


def _check_count(git: Git, most: int) -> None:
    """Raise if there are too many new files. To count them is quick; to store them first would be slow."""
    with closing(others(git)) as new:
        if sum(1 for _ in itertools.islice(new, most + 1)) > most:
            raise too_many_files(most)


def _add_all(git: Git) -> list[str]:
    """Stage everything that is not ignored. Returns the names that git refuses in any tree."""
    try:
        git.run("add", "--all", "--ignore-errors", "--", ".", access=_INTO_ONE_PACK)
    except GitFailed as failed:
        if failed.status != 1 or not all(line.startswith(_REFUSED_NAME) for line in failed.errors.splitlines()):
            raise
        return list(dict.fromkeys(_REFUSED.findall(failed.errors)))
    return []


def _existing(checkout: Path, paths: Iterable[bytes], submodules: Mapping[bytes, str]) -> list[bytes]:
    """The paths that are a file or a link, outside of submodules."""
    kinds = (stat.S_IFREG, stat.S_IFLNK)
    folders = {path + b"/" for path in submodules}
    outside = (path for path in paths if not any(path.startswith(folder) for folder in folders))
    return [path for path in outside if kind_of(checkout, path) in kinds]


def _ignored(git: Git, paths: Sequence[bytes]) -> list[bytes]:
    """The paths that are ignored and not in our index."""
    if not paths:
        return []
    # With a dot before it, since a name that begins with a colon would be a pattern.
    with _as_input(git, (b"./" + path for path in paths)) as stdin:
        try:
            found = git.run("check-ignore", "-z", "--stdin", stdin=stdin).split(b"\0")
            return [path.removeprefix(b"./") for path in found if path]
        except GitFailed as failed:
            if failed.status != 1:
                raise
            return []


def _add_ignored(git: Git, paths: Sequence[bytes]) -> None:
    if paths:
        with _as_input(git, paths) as stdin:
            git.run("update-index", "--add", "-z", "--stdin", stdin=stdin)


@contextlib.contextmanager
def _as_input(git: Git, fields: Iterable[bytes]) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile(dir=git.directory) as file:
        file.writelines(each + b"\0" for each in fields)
        file.seek(0)
        yield file
