"""Stages without the ignore rules and attributes that an agent wrote, where git cannot match their patterns in time.

A pattern such as `**/a/**/a/**/a/x` takes git time that grows exponentially with the number of its `**`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from workers.repository.cone import mark_left_out
from workers.repository.git import Git
from workers.repository.trees import fields_of
from workers.safe_walk import Folder
from workers.workspace.untrackable import moved_aside

NOTE = "changes of .gitignore and .gitattributes: git could not match their patterns in time"
_IGNORE_RULES, _ATTRIBUTES = ".gitignore", ".gitattributes"
_FOLDER = "rules"


@contextmanager
def earlier_rules(git: Git, checkout: Path, aside: Path) -> Iterator[None]:
    """While the context is open, let git see in `checkout` the ignore rules of its index alone, and no attributes.

    Attributes change nothing about what is staged, and yet git matches them. Afterwards the index has the same files of
    both kinds as before. Raises OSError and what `Git.run` does.
    """
    with moved_aside(checkout, aside / _FOLDER, _rules_in):
        entries = dict(_listed(git))
        # Git reads those from the index that it takes for not checked out.
        mark_left_out(git, (path for path in entries if _name(path) == _IGNORE_RULES))
        attributes = {path: entry for path, entry in entries.items() if _name(path) == _ATTRIBUTES}
        _update(git, (b"0" + entry[entry.index(b" ") :] for entry in attributes.values()))
        yield
        _update(git, attributes.values())


def _rules_in(folder: Folder) -> list[str]:
    names = []
    with os.scandir(folder.descriptor) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folder.subfolders.append(entry.name)
            elif entry.name in (_IGNORE_RULES, _ATTRIBUTES):
                names.append(entry.name)
    return names


def _listed(git: Git) -> Iterator[tuple[bytes, bytes]]:
    """The files of both kinds in the index, by path: the lines that put them there."""
    patterns = (f":(glob)**/{name}" for name in (_IGNORE_RULES, _ATTRIBUTES))
    with closing(git.stream("ls-files", "--stage", "-z", "--", *patterns)) as output:
        for line in fields_of(output):
            yield line.partition(b"\t")[2], line


def _update(git: Git, lines: Iterable[bytes]) -> None:
    with tempfile.TemporaryFile(dir=git.directory) as stdin:
        stdin.writelines(line + b"\0" for line in lines)
        if stdin.tell():
            stdin.seek(0)
            git.run("update-index", "-z", "--index-info", stdin=stdin)


def _name(path: bytes) -> str:
    return os.fsdecode(path.rpartition(b"/")[2])
