"""Parts of a new workspace: our git directory, and an index with the base and the changes of earlier sessions."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from workers.repository.git import Git
from workers.repository.mirror import init_with_alternates
from workers.repository.patches import apply_patch
from workers.repository.trees import fields_of

# The attributes in our directory take precedence over those in the checkout. Files are stored byte for byte, and no
# driver can be named. Git decides by a file's content whether it is text (`!diff`).
ATTRIBUTES = "* -text -eol -crlf -ident -filter -working-tree-encoding -whitespace !diff !merge\n"


def make_git_directory(git: Git, mirror: Path) -> None:
    """Create the directory of `git`, with the objects of `mirror` as alternates."""
    init_with_alternates(git, mirror)
    git.directory.chmod(0o700)
    (git.directory / "info" / "attributes").write_text(ATTRIBUTES)


def fill_index(git: Git, base_sha: str, start_diff: Callable[[], Iterator[bytes]] | None) -> str:
    """Fill the index with the base and the changes of earlier sessions. Returns the tree. Raises DoesNotApply."""
    with tempfile.TemporaryFile(dir=git.directory) as patch:
        patch.writelines(start_diff() if start_diff else ())
        return apply_patch(git, base_sha, patch)


def find_submodules(git: Git) -> dict[str, str]:
    """The commit of each submodule in the index, by its path."""
    with closing(git.stream("ls-files", "-s", "-z")) as output:
        entries = [field for field in fields_of(output) if field.startswith(b"160000 ")]
    return {os.fsdecode(entry.partition(b"\t")[2]): entry.split(b" ")[1].decode() for entry in entries}
