"""Parts of a new workspace: its folders, our git directory, and an index with the base and the changes of earlier sessions."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from pathlib import Path

from workers.repository.alternates import init_with_alternates
from workers.repository.contents import Contents
from workers.repository.git import Git
from workers.repository.objects import SUBMODULE, Objects
from workers.repository.partial import write_tree
from workers.repository.patches import apply_patch, apply_to_index, check_size
from workers.repository.trees import Change
from workers.workspace.base import Base

# The attributes in our directory take precedence over those in the checkout. Files are stored byte for byte, and no
# driver can be named. Git decides by a file's content whether it is text (`!diff`).
ATTRIBUTES = "* -text -eol -crlf -ident -filter -working-tree-encoding -whitespace !diff !merge\n"

Earlier = Callable[[], Iterator[bytes]]
"""Reads the diff of earlier sessions or attempts."""


def make_folders(lock: Path, checkout: Path, home: Path, attachments: Path) -> FileIO:
    """Make the folder of an attempt with these folders, and return its open lock, which is held. Raises OSError."""
    # Other users may pass through these folders to their own, but cannot list them.
    lock.parent.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    lock.parent.mkdir(mode=0o711)
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(FileIO(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "w"))
        fcntl.flock(held, fcntl.LOCK_EX)
        for folder, mode in ((checkout, 0o700), (home, 0o700), (attachments, 0o755)):
            folder.mkdir(mode=mode)
        stack.pop_all()
    return held


def make_git_directory(git: Git, mirror: Path) -> None:
    """Create the directory of `git`, with the objects of `mirror` as alternates."""
    init_with_alternates(git, mirror)
    git.directory.chmod(0o700)
    (git.directory / "info" / "attributes").write_text(ATTRIBUTES)


def start_tree(
    git: Git, objects: Objects, base: Base, earlier: Earlier | None, contents: Contents, *, fills_index: bool
) -> str:
    """The tree of the base with the changes that `earlier` reads. With `fills_index` it is in the index of `git` then.

    Raises what `check_size`, `Contents.of_patch` and `apply_patch` do.
    """
    if fills_index:
        assert git.index is not None
        shutil.copyfile(base.index, git.index)
    with tempfile.TemporaryFile(dir=git.directory) as patch:
        patch.writelines(earlier() if earlier else ())
        if not patch.tell():
            return base.facts.tree
        check_size(git, patch)
        contents.of_patch(base.sha, patch)
        if not fills_index:
            return apply_patch(git, objects, base.sha, patch)
        apply_to_index(git, base.sha, patch)
    return write_tree(git)


def find_submodules(base: Base, changed: Sequence[Change]) -> dict[str, str]:
    """The commit of each submodule, by its path, after `changed` was done to the base."""
    found = dict(base.facts.submodules)
    for change in changed:
        found.pop(os.fsdecode(change.path), None)
        if change.new_mode == SUBMODULE:
            found[os.fsdecode(change.path)] = change.new_id.decode()
    return found
