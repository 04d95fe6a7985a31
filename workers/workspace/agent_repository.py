"""The agent's own repository, inside the checkout. It is written once; host git never reads it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from workers.repository.git import Git
from workers.repository.objects import SUBMODULE
from workers.repository.remote import public_url
from workers.repository.trees import Change, unchanged_time
from workers.workspace.base import Base

IDENTITY = """\
[user]
\tname = Agent
\temail = agent@localhost
"""
"""Git's configuration of the author for commits of the agent, in this repository or another one."""

_CONFIG = f"""\
\tfilemode = true
\tbare = false
{IDENTITY}[gc]
\tauto = 0
"""
_FORMATS = {
    40: "[core]\n\trepositoryformatversion = 0\n",
    64: "[extensions]\n\tobjectFormat = sha256\n[core]\n\trepositoryformatversion = 1\n",
}
"""How the configuration begins, by the length of the ids."""
# Files that are not checked out may be missing. Git asks the remote for them, if the agent may reach it.
_PARTIAL = "\tpromisor = true\n\tpartialclonefilter = blob:none\n"
_SPARSE = "\tsparseCheckout = true\n\tsparseCheckoutCone = true\n"


def create_agent_repository(
    ours: Git, checkout: Path, base: Base, branch: str, repo_url: str, changed: Sequence[Change], *, withholds: bool
) -> None:
    """Create `checkout/.git`, a shallow repository that contains the base commit and refers to nothing outside it.

    `changed` is how the work of the runner's earlier sessions differs from the base. Its index is that of `ours`,
    without these changes, so that they show as changes; submodules keep their current commits. Files that we withhold
    do not show as deleted.
    """
    repository = checkout / ".git"
    create_repository(repository, base)
    set_branch(repository, base, branch, repo_url)
    add_old_contents(ours, repository, base, changed)
    assert ours.index is not None
    copy_index(ours.index, repository)
    theirs = replace(ours, index=repository / "index", work_tree=checkout)
    with unchanged_time(repository / "index"):
        if changed:
            theirs.run("read-tree", "-m", "-i", base.sha)
        adapt_index(theirs, base, changed, base.facts.withheld if withholds else ())


def create_repository(repository: Path, base: Base) -> None:
    """Create a repository with the base commit, without a branch and an index.

    The commit is copied as one pack, so the size of the history does not matter.
    """
    for folder in ("objects/info", "refs/heads", "refs/tags", "info", "hooks"):
        (repository / folder).mkdir(parents=True)
    shutil.copytree(base.packs, repository / "objects" / "pack")
    (repository / "shallow").write_text(f"{base.sha}\n")
    if base.cone:
        (repository / "info" / "sparse-checkout").write_bytes(base.cone.patterns)


def set_branch(repository: Path, base: Base, branch: str, repo_url: str) -> None:
    """Write the configuration with the remote, and the branch that is checked out."""
    origin = public_url(repo_url)
    remote = f"\turl = {_quoted(origin)}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n" if origin else ""
    if base.is_partial:
        remote += _PARTIAL
    (repository / "config").write_text(
        _FORMATS[len(base.sha)]
        + (_SPARSE if base.cone else "")
        + _CONFIG
        + (f'[remote "origin"]\n{remote}' if remote else "")
    )
    (repository / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
    (repository / "packed-refs").write_text(f"{base.sha} refs/heads/{branch}\n")


def add_old_contents(ours: Git, repository: Path, base: Base, changed: Sequence[Change]) -> None:
    """Add what the base has where earlier sessions changed files outside of the cone: git compares them with it."""
    ids = [each.old_id + b"\n" for each in changed if _is_outside(base, each)]
    if ids and base.is_partial:
        packs = repository / "objects" / "pack"
        packs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile() as stdin:
            stdin.writelines(ids)
            stdin.seek(0)
            ours.run("pack-objects", "--quiet", str(packs / "pack"), stdin=stdin)


def copy_index(source: Path, repository: Path) -> None:
    """Copy an index with the time of its source, so that git looks at the same files again (see `unchanged_time`)."""
    shutil.copyfile(source, repository / "index")
    written = source.stat().st_mtime_ns
    os.utime(repository / "index", ns=(written, written))


def adapt_index(theirs: Git, base: Base, changed: Sequence[Change], absent: Sequence[str]) -> None:
    """Record the current commits of the submodules, and make `git status` ignore files that are absent, and show what
    earlier sessions changed outside of the cone."""
    lines = []
    for change in changed:
        if change.new_mode == SUBMODULE:
            lines.append(b"%s %s\t%s\0" % (SUBMODULE, change.new_id, change.path))
        elif change.old_mode == SUBMODULE:
            # Without a mode, only the length of the id matters.
            lines.append(b"0 %s\t%s\0" % (change.old_id, change.path))
    for options, fields in (
        (["--index-info"], lines),
        (["--no-skip-worktree", "--stdin"], [each.path + b"\0" for each in changed if _is_outside(base, each)]),
        (["--skip-worktree", "--stdin"], [os.fsencode(path) + b"\0" for path in absent]),
    ):
        if fields:
            with tempfile.TemporaryFile() as stdin:
                stdin.writelines(fields)
                stdin.seek(0)
                theirs.run("update-index", "-z", *options, stdin=stdin)


def _is_outside(base: Base, change: Change) -> bool:
    """Whether the index has the path as one that is not checked out."""
    return change.existed and SUBMODULE not in (change.old_mode, change.new_mode) and not base.cone.has(change.path)


def _quoted(value: str | None) -> str:
    """`value` quoted for git's configuration. Addresses contain no control characters."""
    escaped = (value or "").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
