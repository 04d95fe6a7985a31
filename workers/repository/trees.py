"""Comparing trees, and taking out of one what the setup command left."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from workers.job import Secrets
from workers.repository.git import Git

_NOTHING = b"0" * 40


@dataclass(frozen=True)
class Change:
    """How one path differs between two trees. A mode of `000000` means that the path is not there."""

    path: bytes
    old_mode: bytes
    new_mode: bytes
    old_id: bytes
    new_id: bytes

    @property
    def exists(self) -> bool:
        """Whether the newer tree has the path."""
        return self.new_mode != b"000000"


def changes(git: Git, old: str, new: str) -> Generator[Change, None, None]:
    """Every path in which two trees differ, read as it comes. Names are bytes, whatever they hold."""
    with closing(git.stream("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new)) as output:
        fields = fields_of(output)
        for field in fields:
            old_mode, new_mode, old_id, new_id, _ = field.removeprefix(b":").split(b" ")
            yield Change(next(fields), old_mode, new_mode, old_id, new_id)


def holds_secret(git: Git, changed: Iterable[Change], secrets: Secrets) -> bool:
    """Whether a path that changed, or what a newer tree has there, holds a secret that is known.

    What the files hold is read rather than the patch, in which binary ones are compressed.
    """
    with tempfile.TemporaryFile() as names:
        for change in changed:
            if change.exists:
                names.write(change.new_id + b"\n")
                if secrets.are_in([change.path]):
                    return True
        names.seek(0)
        # Their headers stand between the contents; those hold nothing but an id, a word and a length.
        with closing(git.stream("cat-file", "--batch", "--buffer", stdin=names)) as contents:
            return secrets.are_in(contents)


@contextmanager
def index_apart(git: Git) -> Iterator[Git]:
    """`git` with an empty index that nothing else uses."""
    with tempfile.TemporaryDirectory(dir=git.directory) as folder:
        yield replace(git, index=Path(folder) / "index", work_tree=None)


def without_setup(
    git: Git, start: str, setup: str, final: str, changed: Sequence[Change], is_kept: Callable[[bytes], bool]
) -> str:
    """The tree `final` in which every path that still is as setup left it is again as it was in `start`.

    That is the rule "What `setup_command` leaves untracked and the agent does not touch is no part of the diff",
    applied to tracked files too: a lock file that only setup rewrote is no work of the agent's, and one that the
    agent changed further counts in full, as there is no telling whose lines are whose.

    `changed` is how `final` differs from `setup`. A path that is missing from it although it `is_kept` counts as one that
    the agent did not touch.
    """
    missing = [change for change in changed if not change.exists and is_kept(change.path)]
    touched = {change.path: change.exists for change in changed} if missing or setup != start else {}
    for change in missing:
        del touched[change.path]
    left = [change for change in changes(git, start, setup) if change.path not in touched] if setup != start else []
    untouched = {change.path for change in left}
    restored = [*left, *(change for change in missing if change.path not in untouched)]
    return _restored(git, final, restored, added={path for path, exists in touched.items() if exists})


def _restored(git: Git, tree: str, old: list[Change], added: set[bytes]) -> str:
    """`tree` with the old side of each change, except where a path that was `added` is in the way."""
    if not old:
        return tree
    # A file of the start that setup turned into a folder cannot come back where the agent has put files into it.
    folders = {path[:cut] for path in added for cut in _slashes(path)}
    fitting = [c for c in old if c.path not in folders and not any(c.path[:cut] in added for cut in _slashes(c.path))]
    return _rewritten(git, tree, fitting) if fitting else tree


def _rewritten(git: Git, tree: str, restored: list[Change]) -> str:
    """`tree` with the old side of each change, in an index that nothing else uses."""
    with index_apart(git) as apart, tempfile.TemporaryFile() as lines:
        # Removals come first, so that a file may take the place of a folder and the other way round.
        for change in sorted(restored, key=lambda change: change.old_mode != b"000000"):
            mode, name = (b"0", _NOTHING) if change.old_mode == b"000000" else (change.old_mode, change.old_id)
            lines.write(mode + b" " + name + b"\t" + change.path + b"\0")
        lines.seek(0)
        apart.run("read-tree", tree)
        apart.run("update-index", "-z", "--index-info", stdin=lines)
        return apart.line("write-tree")


def _slashes(path: bytes) -> Iterator[int]:
    return (place for place, byte in enumerate(path) if byte == ord("/"))


def fields_of(chunks: Iterator[bytes], end: bytes = b"\0") -> Iterator[bytes]:
    """The fields of output that ends each with `end`."""
    rest = b""
    for chunk in chunks:
        *fields, rest = (rest + chunk).split(end)
        yield from fields
