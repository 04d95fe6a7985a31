"""Submodules in a diff: git records a commit for each (a gitlink), and never the files in its folder."""

from __future__ import annotations

import functools
import itertools
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workers.repository.git import Git, GitFailed
from workers.repository.trees import Change
from workers.safe_walk import walk
from workers.workspace.agent_index import AgentIndex, Submodule
from workers.workspace.untrackable import is_whiteout

_PATHS = ("--no-includes", "-z", "--get-regexp", r"^submodule\..*\.path$")
_NAMED = 100


@dataclass
class Submodules:
    """The commits to record, by path; the paths where plain files replace a submodule; and notes about work that is not
    kept."""

    recorded: dict[bytes, str] = field(default_factory=dict)
    removed: list[bytes] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def decide_submodules(
    git: Git,
    checkout: Path,
    tree: str,
    before: Mapping[bytes, str],
    agent_index: AgentIndex | None,
    repositories: set[str],
) -> Submodules:
    """Decide, as `git add` would, on the submodules that `tree` had `before` and those in the agent's index.

    A folder with files but no repository, which `.gitmodules` no longer names, is not a submodule any more. The agent's
    repositories are hidden at this time; `repositories` are their folders. Raises what `Git.run` does.
    """
    known = (
        {path: Submodule(commit) for path, commit in before.items()} if agent_index is None else agent_index.submodules
    )
    decision = Submodules()
    named = functools.cache(lambda: _named_submodules(git, "--file", str(checkout / ".gitmodules")))
    named_before = functools.cache(lambda: _named_submodules(git, "--blob", f"{tree}:.gitmodules"))
    for path in sorted({*before, *known}):
        if kind_of(checkout, path) != stat.S_IFDIR:
            continue  # `git add` detects that it was deleted or is a file now.
        if path not in known:
            decision.removed.append(path)
            continue
        submodule, is_repository = known[path], os.fsdecode(path) in repositories
        inside = [] if is_repository else list(itertools.islice(_files_in(checkout, path), _NAMED))
        if inside and path in named_before() - named():
            decision.removed.append(path)
            continue
        decision.recorded[path] = submodule.commit
        decision.notes += [f"{each}: a file in a submodule that is not checked out" for each in inside]
        has_address = path in before or path in named()
        decision.notes += _lost_in(os.fsdecode(path), submodule, before.get(path), has_address)
    return decision


def kind_of(checkout: Path, path: bytes) -> int | None:
    """The file type at `path` (`stat.S_IFDIR` ...). None if there is none, or if the path goes through a link."""
    place = os.fsencode(checkout)
    kind = stat.S_IFDIR
    for part in path.split(b"/"):
        place = os.path.join(place, part)
        try:
            kind = stat.S_IFMT(os.lstat(place).st_mode) if kind == stat.S_IFDIR else 0
        except OSError:
            return None
    return kind or None


def lost_histories(repositories: set[str], changed: list[Change]) -> list[str]:
    """A note on each nested repository with files in the agent's work: the files are kept, its history is not."""
    found = set()
    for change in changed if repositories else ():
        parts = os.fsdecode(change.path).split("/") if change.exists else []
        found |= repositories.intersection("/".join(parts[:cut]) for cut in range(1, len(parts)))
    return [f"{folder}/.git: the history of a nested repository; its files are kept" for folder in sorted(found)]


def _lost_in(name: str, submodule: Submodule, before: str | None, has_address: bool) -> Iterator[str]:
    if not has_address:
        yield f"{name}: the files of a repository that was added as a submodule but is not named in .gitmodules"
    elif submodule.commit != before and not submodule.is_published:
        yield f"{name}: the content of the submodule's commit {submodule.commit}, which no remote branch has"
    if submodule.is_changed:
        yield f"{name}: uncommitted changes in the submodule"


def _files_in(checkout: Path, path: bytes) -> Iterator[str]:
    top = os.fsdecode(path)
    for folder in walk(checkout / top):
        with os.scandir(folder.descriptor) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folder.subfolders.append(entry.name)
                elif not is_whiteout(entry):
                    yield f"{top}/{folder.path_of(entry.name)}"


def _named_submodules(git: Git, *source: str) -> frozenset[bytes]:
    """The paths that a `.gitmodules` names. Empty if there is no such file."""
    try:
        output = git.run("config", *source, *_PATHS)
    except GitFailed:
        return frozenset()
    return frozenset(each.partition(b"\n")[2].strip(b"/") for each in output.split(b"\0") if each)
