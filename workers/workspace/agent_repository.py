"""The agent's own repository, inside the checkout. It is written once; host git never reads it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from workers.repository.git import Git
from workers.repository.remote import public_url
from workers.repository.trees import fields_of

IDENTITY = """\
[user]
\tname = Agent
\temail = agent@localhost
"""
"""Git's configuration of the author for commits of the agent, in this repository or another one."""

_CONFIG = f"""\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
{IDENTITY}[gc]
\tauto = 0
"""


def create_agent_repository(
    ours: Git,
    checkout: Path,
    base_sha: str,
    branch: str,
    repo_url: str,
    submodules: Mapping[str, str],
    is_absent: Callable[[str], bool],
) -> None:
    """Create `checkout/.git`, a shallow repository that contains the base commit and refers to nothing outside it.

    Its index is that of `ours`, reset to the base except for `submodules`, which keep their current commits. So the
    work of the runner's earlier sessions shows as changes, but files that we withhold (`is_absent`) do not show as
    deleted.
    The commit is copied from the mirror as one pack, so the size of the history does not matter.
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
    with closing(theirs.stream("ls-files", "-s", "-z")) as output:
        _adapt_index(theirs, fields_of(output), submodules, is_absent)
    # A copy has the time of its source, so that git looks at the same files again (see `unchanged_time`).
    written = ours.index.stat().st_mtime_ns
    os.utime(repository / "index", ns=(written, written))


def _adapt_index(
    theirs: Git, entries: Iterator[bytes], submodules: Mapping[str, str], is_absent: Callable[[str], bool]
) -> None:
    """Record the current commits of the submodules, and make `git status` ignore files that are absent."""
    absent: list[bytes] = []
    known: dict[str, str] = {}
    for entry in entries:
        words, _, path = entry.partition(b"\t")
        mode, commit, _ = words.decode().split(" ")
        name = os.fsdecode(path)
        if mode == "160000":
            known[name] = commit
        elif is_absent(name):
            absent.append(path + b"\0")
    gone = [f"0 {'0' * 40}\t{name}\0" for name in known.keys() - submodules.keys()]
    new = [f"160000 {commit}\t{name}\0" for name, commit in submodules.items() if known.get(name) != commit]
    for options, lines in (
        (["--index-info"], [os.fsencode(line) for line in (*gone, *new)]),
        (["--skip-worktree", "--stdin"], absent),
    ):
        if lines:
            with tempfile.TemporaryFile() as stdin:
                stdin.writelines(lines)
                stdin.seek(0)
                theirs.run("update-index", "-z", *options, stdin=stdin)


def _copy_commit(ours: Git, base_sha: str, folder: Path) -> None:
    """Write a pack of the commit and all objects of its tree, copied from the mirror without compressing them again."""
    with tempfile.TemporaryFile() as wanted:
        wanted.write(f"--shallow {base_sha}\n{base_sha}\n".encode())
        wanted.seek(0)
        ours.run("pack-objects", "--quiet", "--revs", "--shallow", str(folder / "pack"), stdin=wanted)


def _quoted(value: str | None) -> str:
    """`value` quoted for git's configuration. Addresses contain no control characters."""
    escaped = (value or "").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
