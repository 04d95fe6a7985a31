"""Compare trees, and remove from one what only the setup command changed."""

from __future__ import annotations

import os
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
    """How one path differs between two trees. A mode of `000000` means that the path does not exist."""

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
    """Every path in which two trees differ, streamed. Names are bytes, because git allows any bytes in them."""
    with closing(git.stream("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new)) as output:
        fields = fields_of(output)
        for field in fields:
            old_mode, new_mode, old_id, new_id, _ = field.removeprefix(b":").split(b" ")
            yield Change(next(fields), old_mode, new_mode, old_id, new_id)


def holds_secret(git: Git, changed: Iterable[Change], secrets: Secrets) -> bool:
    """Whether the name or the new content of a changed path holds a known secret.

    The files are read instead of the patch, because a patch compresses binary files.
    """
    with tempfile.TemporaryFile() as names:
        for change in changed:
            if change.exists:
                names.write(change.new_id + b"\n")
                if secrets.are_in([change.path]):
                    return True
        names.seek(0)
        # Git writes a header before each content; it holds only an id, a type and a length.
        with closing(git.stream("cat-file", "--batch", "--buffer", stdin=names)) as contents:
            return secrets.are_in(contents)


@contextmanager
def unchanged_time(index: Path) -> Iterator[None]:
    """Keep the time of an index that git edits without looking at the files.

    Git reads files that changed in the second of that time, or later, as their times and sizes cannot tell whether they
    changed once more. A newer time would make it miss a change that keeps the size of a file.
    """
    written = index.stat().st_mtime_ns
    yield
    os.utime(index, ns=(written, written))


@contextmanager
def temporary_index(git: Git) -> Iterator[Git]:
    """`git` with an empty index of its own."""
    with tempfile.TemporaryDirectory(dir=git.directory) as folder:
        yield replace(git, index=Path(folder) / "index", work_tree=None)


def revert_setup_changes(
    git: Git, start: str, setup: str, final: str, changed: Sequence[Change], is_kept: Callable[[bytes], bool]
) -> str:
    """The tree `final`, with every path that only setup changed reverted to `start`.

    What the setup command changed and the agent did not touch is not part of the diff, tracked files included. A lock
    file that only setup rewrote is not the agent's work. One that the agent changed further counts in full, because
    it cannot be known which lines are whose.

    `changed` is how `final` differs from `setup`. A path that is missing from `final` although it `is_kept` counts as
    not touched by the agent.
    """
    missing = [change for change in changed if not change.exists and is_kept(change.path)]
    touched = {change.path: change.exists for change in changed} if missing or setup != start else {}
    for change in missing:
        del touched[change.path]
    by_setup = [each for each in changes(git, start, setup) if each.path not in touched] if setup != start else []
    untouched = {change.path for change in by_setup}
    restored = [*by_setup, *(change for change in missing if change.path not in untouched)]
    return _restore(git, final, restored, added={path for path, exists in touched.items() if exists})


def _restore(git: Git, tree: str, old: list[Change], added: set[bytes]) -> str:
    """`tree` with the old side of each change, except where it conflicts with a path in `added`."""
    if not old:
        return tree
    # A file that setup turned into a folder cannot be restored if the agent has put files into that folder.
    folders = {path[:cut] for path in added for cut in _slashes(path)}
    fitting = [c for c in old if c.path not in folders and not any(c.path[:cut] in added for cut in _slashes(c.path))]
    return _write_old_sides(git, tree, fitting) if fitting else tree


def _write_old_sides(git: Git, tree: str, restored: list[Change]) -> str:
    """`tree` with the old side of each change."""
    with temporary_index(git) as temporary, tempfile.TemporaryFile() as lines:
        # Removals come first, so that a file can replace a folder and the other way round.
        for change in sorted(restored, key=lambda change: change.old_mode != b"000000"):
            mode, name = (b"0", _NOTHING) if change.old_mode == b"000000" else (change.old_mode, change.old_id)
            lines.write(mode + b" " + name + b"\t" + change.path + b"\0")
        lines.seek(0)
        temporary.run("read-tree", tree)
        temporary.run("update-index", "-z", "--index-info", stdin=lines)
        return temporary.line("write-tree")


def _slashes(path: bytes) -> Iterator[int]:
    return (place for place, byte in enumerate(path) if byte == ord("/"))


def fields_of(chunks: Iterator[bytes], end: bytes = b"\0") -> Iterator[bytes]:
    """The fields of output in which each ends with `end`."""
    rest = b""
    for chunk in chunks:
        *fields, rest = (rest + chunk).split(end)
        yield from fields
