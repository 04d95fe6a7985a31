"""The repository inside the checkout: the agent's own, written once and never read back."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from workers.repository.git import Git
from workers.repository.remote import public_url
from workers.repository.trees import fields_of

_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
[user]
\tname = Agent
\temail = agent@localhost
[gc]
\tauto = 0
"""


def give_repository(
    ours: Git, checkout: Path, base_sha: str, branch: str, repo_url: str, is_absent: Callable[[str], bool]
) -> None:
    """Make `checkout/.git` a shallow repository that holds the base commit and refers to nothing outside it.

    Its index is that of `ours`, led back to the base: what earlier sessions of the runner did shows as uncommitted
    changes; that files are missing which will be absent by our doing does not. The commit is copied out of the mirror
    as one pack, so the size of the history does not matter.
    """
    repository = checkout / ".git"
    for folder in ("objects/pack", "objects/info", "refs/heads", "refs/tags", "info", "hooks"):
        (repository / folder).mkdir(parents=True)
    _copy_commit(ours, base_sha, repository / "objects" / "pack")
    origin = public_url(repo_url)
    remote = f'[remote "origin"]\n\turl = {_quoted(origin)}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
    (repository / "config").write_text(_CONFIG + (remote if origin else ""))
    (repository / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
    (repository / "packed-refs").write_text(f"{base_sha} refs/heads/{branch}\n")
    (repository / "shallow").write_text(f"{base_sha}\n")
    assert ours.index is not None
    shutil.copyfile(ours.index, repository / "index")
    theirs = replace(ours, index=repository / "index", work_tree=checkout)
    theirs.run("read-tree", "-m", "-i", base_sha)
    _expect_absence(theirs, is_absent)


def _expect_absence(theirs: Git, is_absent: Callable[[str], bool]) -> None:
    """Have `git status` take no notice of tracked files that are not there."""
    with closing(theirs.stream("ls-files", "-z")) as output:
        absent = [path for path in fields_of(output) if is_absent(os.fsdecode(path))]
    with tempfile.TemporaryFile() as paths:
        paths.writelines(path + b"\0" for path in absent)
        paths.seek(0)
        theirs.run("update-index", "--skip-worktree", "-z", "--stdin", stdin=paths)


def _copy_commit(ours: Git, base_sha: str, folder: Path) -> None:
    """Write a pack of the commit and all that its tree holds, as it lies in the mirror, without compressing it anew."""
    with tempfile.TemporaryFile() as wanted:
        wanted.write(f"--shallow {base_sha}\n{base_sha}\n".encode())
        wanted.seek(0)
        ours.run("pack-objects", "--quiet", "--revs", "--shallow", str(folder / "pack"), stdin=wanted)


def _quoted(value: str | None) -> str:
    """`value` as git's configuration wants it; addresses hold no control characters."""
    escaped = (value or "").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
