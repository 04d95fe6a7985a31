"""Commits made from stored diffs, in a throw-away git directory that borrows the mirror's objects.

The same job always makes the same commits, dates included, so a publication that is taken up again after a crash
finds its own work on the forge instead of doing it twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from workers.errors import EngineError
from workers.job import Host, Secrets
from workers.processes.lifeline import Lifeline
from workers.repository.forbidden import find_forbidden
from workers.repository.git import Git, GitFailed
from workers.repository.mirror import init_with_alternates
from workers.repository.patches import apply_patch
from workers.repository.trees import changes as changed_paths
from workers.repository.trees import holds_secret

_SECRET = (
    "A file that was changed holds a value which is known to be secret, such as the site's access token. Nothing was "
    "pushed. Have the value taken out by another session, or go back to before it."
)
_FORBIDDEN = (
    "Git forbids paths of this change: {}. Servers that check what they get refuse them, and so would this deployment, "
    "so nothing was pushed. Have them taken out by another session, or go back to before it."
)
_MOST_NAMED = 20
_NOTHING = (
    "The diff leaves every file as it was, so there is nothing to publish. Have a session change something first."
)
_BEING_MADE_SECONDS = 60.0
COMMITTER = "Agent Runners <agent-runners@noreply.invalid>"


@dataclass(frozen=True)
class Change:
    """One commit to make: the tree that `diff`, cumulative, makes of the base; who asked for it, when, and why."""

    author_name: str
    author_email: str
    seconds: int
    """Unix time."""
    message: str
    diff: Callable[[], Iterator[bytes]] = field(repr=False)


class Merging(Exception):
    """A three-way merge found conflicts in `files`."""

    def __init__(self, files: list[str]) -> None:
        super().__init__(", ".join(files))
        self.files = files


@dataclass(frozen=True)
class Landed:
    """What landed on a branch before: the commit, and the cumulative diff that it brought there."""

    sha: str
    diff: Callable[[], Iterator[bytes]] = field(repr=False)


class Commits:
    """Makes commits in `git`, whose directory is a bare one of its own."""

    def __init__(self, git: Git, secrets: Secrets) -> None:
        self.git = git
        self._secrets = secrets

    def chain(self, base_sha: str, changes: Sequence[Change], message: str | None = None) -> str:
        """One commit for each change on top of the base; the last one's id.

        A change that changes nothing is left out, and so is one that leaves what is not to be published: what else it
        did is part of the next commit. `message` is what the last commit says in place of its change's own message.
        Raises EngineError `contains_secret` and `forbidden_paths` where the last change leaves such a thing, and
        `diff_does_not_apply` and `nothing_to_publish`.
        """
        base_tree = tree = self.tree_of(base_sha)
        steps: list[tuple[str, Change]] = []
        for change in changes:
            changed = self.tree(base_sha, change.diff)
            if refusal := self._refusal(base_tree, changed):
                if change is changes[-1]:
                    raise refusal
            elif changed != tree:
                tree = changed
                steps.append((changed, change))
        if tree == base_tree:
            raise EngineError("nothing_to_publish", "publish", _NOTHING)
        if message is not None:
            steps[-1] = (tree, replace(steps[-1][1], message=message))
        tip = base_sha
        for step, change in steps:
            tip = self.commit(step, [tip], change)
        return tip

    def _refusal(self, base_tree: str, tree: str) -> EngineError | None:
        """Why `tree` is not to be published; None where it may be."""
        if holds_secret(self.git, changed_paths(self.git, base_tree, tree), self._secrets):
            return EngineError("contains_secret", "publish", _SECRET)
        if forbidden := find_forbidden(self.git, tree):
            named = ", ".join(forbidden[:_MOST_NAMED]) + (" and more" if len(forbidden) > _MOST_NAMED else "")
            return EngineError("forbidden_paths", "publish", _FORBIDDEN.format(named))
        return None

    def tree(self, base_sha: str, diff: Callable[[], Iterator[bytes]]) -> str:
        """The tree that `diff` makes of the base; raises EngineError `diff_does_not_apply`."""
        with tempfile.TemporaryFile(dir=self.git.directory) as patch:
            for chunk in diff():
                patch.write(chunk)
            return apply_patch(self.git, base_sha, patch)

    def tree_of(self, commit: str) -> str:
        return self.git.line("rev-parse", "--verify", f"{commit}^{{tree}}")

    def commit(self, tree: str, parents: Iterable[str], change: Change) -> str:
        """Store a commit object and return its id. The format is that of `git cat-file commit`."""
        author = f"{_plain(change.author_name) or 'Unknown'} <{_plain(change.author_email)}>"
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        lines += [f"author {author} {change.seconds} +0000", f"committer {COMMITTER} {change.seconds} +0000", ""]
        text = "\n".join([*lines, change.message.replace("\0", "").strip(), ""])
        with tempfile.TemporaryFile(dir=self.git.directory) as file:
            file.write(text.encode(errors="replace"))
            file.seek(0)
            return self.git.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=file).decode().strip()

    def is_ancestor(self, one: str, other: str) -> bool:
        """Whether `one` is `other` or in its history; a commit that is not here is in nobody's."""
        try:
            self.git.run("merge-base", "--is-ancestor", one, other)
        except GitFailed:
            return False
        return True

    def merge_since(self, base_tree: str, ours: str, theirs: str, change: Change) -> str:
        """As `merge`, of what both did since `base_tree`, whatever their histories say."""
        base = self.commit(base_tree, [], change)
        sides = (self.commit(self.tree_of(side), [base], change) for side in (ours, theirs))
        return self.merge(*sides)

    def merge(self, ours: str, theirs: str) -> str:
        """The tree of both commits merged; raises `Merging` with the names of the files that conflict."""
        output = b""
        try:
            for chunk in self.git.stream(
                "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs
            ):
                output += chunk
        except GitFailed as failed:
            if "unrelated histories" in failed.errors:
                message = (
                    "The branch shares no history with the commit that this runner began on, so they cannot be merged. "
                    "Commit to a branch that does, or to a new one."
                )
                raise EngineError("unrelated_histories", "publish", message) from None
            if failed.status != 1:
                raise
            _, *files = output.decode(errors="replace").split("\0")
            raise Merging(list(dict.fromkeys(file for file in files if file))) from None
        return output.decode().strip("\0\n")


@contextlib.contextmanager
def scratch(host: Host, mirror: Path, secrets: Secrets, lifeline: Lifeline) -> Iterator[Commits]:
    """A throw-away bare git directory on top of the mirror's objects."""
    folder = host.work_dir / "publications"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove_left(folder)
    directory = Path(tempfile.mkdtemp(dir=folder))
    held = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(held, fcntl.LOCK_EX)
    git = Git(directory, lifeline, stage="publish", index=directory / "index")
    try:
        init_with_alternates(git, mirror)
        yield Commits(git, secrets)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(held)


def _remove_left(folder: Path) -> None:
    """Remove what workers left that died: a directory that is in use is locked by its process."""
    for directory in folder.iterdir():
        with contextlib.suppress(OSError):
            held = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # One that was made this moment is not locked yet.
                if time.time() - os.fstat(held).st_mtime > _BEING_MADE_SECONDS:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(held)


def _plain(text: str) -> str:
    return re.sub(r"[<>\x00-\x1f\x7f]+", " ", text).strip()
