"""Bringing our index up to date with what the agent left, as `git add --all` does, and its tree.

Host git reads the agent's files here, and so only while `hidden` is open.
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
from workers.repository.git import Access, Git, GitFailed
from workers.workspace.agent_index import AgentIndex
from workers.workspace.partial_staging import others, stage_what_fits
from workers.workspace.submodules import kind_of, settle_submodules
from workers.workspace.untrackable import hidden

# Git refuses a few more names in any tree than are hidden from it. The rest is staged all the same.
_REFUSED_NAME = ("error: invalid path ", "error: unable to add ", "error: unable to index file ", "warning: ", "hint: ")
_REFUSED = re.compile(r"^error: unable to (?:add|index file) '(.*)'(?: to index)?$", re.MULTILINE)
# What git takes for big goes into one pack at once, which for thousands of files is far quicker than a file each.
_INTO_ONE_PACK = Access(config=(("core.bigFileThreshold", "1"), ("advice.addEmbeddedRepo", "false")))
_NOTHING = "0" * 40


@dataclass
class Staged:
    """The tree of the index, and what it does not hold: paths that are `left_out`, and `notes` on the rest, in words.

    `repositories` are the folders that hold a repository of their own and are no submodules.
    """

    tree: str
    left_out: list[str]
    notes: list[str] = field(default_factory=list)
    repositories: set[str] = field(default_factory=set)


def stage(
    git: Git,
    checkout: Path,
    aside: Path,
    *,
    submodules: Mapping[bytes, str],
    said: AgentIndex | None = None,
    most_new: int | None = None,
    before: str,
    what_fits: Limits | None = None,
) -> Staged:
    """Stage all that lies in `checkout`; with `what_fits` no more of it than fits into a diff of those limits.

    `before` is the tree that the work began on and `submodules` are those that there were, with their commits. `said` is
    what the agent's index says, and `most_new` how many new files there may be at most. Nothing of the agent's is
    running. Raises EngineError `snapshot_failed`, `too_many_files` and `disk_full`.
    """
    try:
        # Where a stop came amid an earlier staging, git was killed; nobody else uses this index.
        (git.directory / "index.lock").unlink(missing_ok=True)
        _restore_folder(checkout)
        if what_fits:
            # Where everything was staged already, what turned out to be too much is to be new again.
            git.run("read-tree", "-m", "-i", before)
        with_files = replace(git, work_tree=checkout)
        with hidden(checkout, aside) as found:
            decision = settle_submodules(git, checkout, before, submodules, said, found.repositories)
            dropped = [*decision.removed, *(said.dropped if said else ())]
            _tell_index(git, dropped, decision.recorded)
            if most_new is not None and not what_fits and found.files > most_new:
                _check_number(with_files, most_new)
            staged = _in_place(checkout, said.staged, decision.recorded) if said else []
            if what_fits:
                forced = _ignored(with_files, staged)
                passed_over = stage_what_fits(with_files, checkout, what_fits, forced)
            else:
                passed_over = _add_all(with_files)
                _add_by_force(with_files, _ignored(with_files, staged))
            tree = git.line("write-tree")
        nested = found.repositories - {os.fsdecode(path) for path in decision.recorded}
        return Staged(tree, [*found.left_out, *passed_over], decision.notes, nested)
    except TimeoutError as error:
        raise EngineError("snapshot_failed", "diff", "The files are too large to be read in time.") from error
    except OSError as error:
        if error.errno in FULL_DISK:
            raise disk_full("diff") from error
        raise EngineError("snapshot_failed", "diff", f"The files could not be read: {error.strerror}.") from error
    except GitFailed as failed:
        raise EngineError("snapshot_failed", "diff", failed.message) from failed


def _restore_folder(checkout: Path) -> None:
    """A checkout that was deleted, or replaced by a link to elsewhere, is an empty one."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(checkout).st_mode):
            return
        checkout.unlink()
    checkout.mkdir(mode=0o700)


def _tell_index(git: Git, dropped: Iterable[bytes], submodules: Mapping[bytes, str]) -> None:
    """Forget what the agent dropped, which is found again where it is not ignored, and record submodules."""
    lines = [b"0 %s\t%s" % (_NOTHING.encode(), path) for path in dropped if path not in submodules]
    lines += [b"160000 %s\t%s" % (commit.encode(), path) for path, commit in submodules.items()]
    if lines:
        with _as_input(git, lines) as stdin:
            git.run("update-index", "-z", "--index-info", stdin=stdin)


def _check_number(git: Git, most: int) -> None:
    """To list the files that are new is quick. To store them, only to find that no diff can hold them, is not."""
    with closing(others(git)) as new:
        if sum(1 for _ in itertools.islice(new, most + 1)) > most:
            raise too_many_files(most)


def _add_all(git: Git) -> list[str]:
    """Stage everything that is not ignored, and return the names that git can put into no tree."""
    try:
        git.run("add", "--all", "--ignore-errors", "--", ".", access=_INTO_ONE_PACK)
    except GitFailed as failed:
        if failed.status != 1 or not all(line.startswith(_REFUSED_NAME) for line in failed.errors.splitlines()):
            raise
        return list(dict.fromkeys(_REFUSED.findall(failed.errors)))
    return []


def _in_place(checkout: Path, paths: Iterable[bytes], submodules: Mapping[bytes, str]) -> list[bytes]:
    """Those paths at which there is a file or a link, outside of submodules."""
    kinds = (stat.S_IFREG, stat.S_IFLNK)
    folders = {path + b"/" for path in submodules}
    outside = (path for path in paths if not any(path.startswith(folder) for folder in folders))
    return [path for path in outside if kind_of(checkout, path) in kinds]


def _ignored(git: Git, paths: Sequence[bytes]) -> list[bytes]:
    """Those paths that our index does not have and that are ignored."""
    if not paths:
        return []
    with _as_input(git, paths) as stdin:
        try:
            return [path for path in git.run("check-ignore", "-z", "--stdin", stdin=stdin).split(b"\0") if path]
        except GitFailed as failed:
            if failed.status != 1:
                raise
            return []


def _add_by_force(git: Git, paths: Sequence[bytes]) -> None:
    if paths:
        with _as_input(git, paths) as stdin:
            git.run("update-index", "--add", "-z", "--stdin", stdin=stdin)


@contextlib.contextmanager
def _as_input(git: Git, fields: Iterable[bytes]) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile(dir=git.directory) as file:
        file.writelines(each + b"\0" for each in fields)
        file.seek(0)
        yield file
