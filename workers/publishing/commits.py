"""Commits made from stored diffs, in a temporary git directory that borrows the mirror's objects.

The same job always makes the same commits, dates included. So a publication that resumes after a crash finds its own
work on the forge instead of repeating it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from workers.errors import EngineError, Stage
from workers.job import Host, Secrets
from workers.limits.git_limits import remote_limits
from workers.processes.leftovers import end_git_in
from workers.processes.lifeline import Lifeline
from workers.publishing.signing import NotSigned, sign
from workers.repository import trees
from workers.repository.alternates import init_with_alternates
from workers.repository.contents import Contents
from workers.repository.forbidden import find_forbidden, may_be_forbidden
from workers.repository.git import Git, GitFailed
from workers.repository.objects import Objects
from workers.repository.patches import apply_patch, check_size

log = structlog.get_logger()
SECRET = (
    "A changed file contains a known secret, such as the site's access token. Nothing was pushed. Have another session "
    "remove the secret, or revert to an earlier session."
)
_FORBIDDEN = (
    "Git forbids these paths in the change: {}. Servers that check pushes refuse them, and this deployment could not "
    "fetch them. Nothing was pushed. Have another session remove them, or revert to an earlier session."
)
_MOST_NAMED = 20
_NOTHING = "The diff changes no file, so there is nothing to publish. Have a session change something first."
_CREATION_SECONDS = 60.0
_UNSIGNED = (
    "This deployment could not sign the commit, so nothing was pushed. Ask the operator: agent-runners doctor says why."
)


@dataclass(frozen=True)
class Change:
    """One commit to make: who asked for it, when, why, and the cumulative diff that turns the base into its tree."""

    author_name: str
    author_email: str
    seconds: int
    """Unix time."""
    message: str
    diff: Callable[[], Iterator[bytes]] = field(repr=False)
    trailers: str = ""
    """The last lines of the message, which name who made it beside its author."""


@dataclass(frozen=True)
class Chain:
    """Commits on top of the commit `base`, up to `tip`. `changed` are the paths in which both differ, and `added` the files
    that any of the commits has and the base has not: the path of each by its id."""

    base: str
    tip: str
    changed: Sequence[bytes]
    added: Mapping[bytes, bytes]


class MergeConflict(Exception):
    """A three-way merge found conflicts in `files`. `tree` is the merge with markers in them, and `notes` has git's words
    on each conflict."""

    def __init__(self, tree: str, files: list[str], notes: list[str]) -> None:
        super().__init__(", ".join(files))
        self.tree, self.files, self.notes = tree, files, notes


@dataclass(frozen=True)
class Landed:
    """What this runner committed to a branch before: the commit, and its cumulative diff with the base of that."""

    sha: str
    base_sha: str
    diff: Callable[[], Iterator[bytes]] = field(repr=False)


class Commits:
    """Makes commits in `git`, whose directory is bare and used for nothing else. `host` says who commits, and signs."""

    def __init__(self, git: Git, secrets: Secrets, host: Host, contents: Contents) -> None:
        self.git, self.contents, self.objects = git, contents, Objects(git)
        self._secrets, self._host = secrets, host

    def chain(self, base_sha: str, changes: Sequence[Change], message: str | None = None) -> Chain:
        """Make one commit for each change on top of the base.

        A change without effect is left out. So is one that must not be published; the rest of it becomes part of the
        next commit. `message` replaces the message of the last commit, not its trailers. Raises EngineError
        `contains_secret` or `forbidden_paths` if the last change must not be published, `diff_does_not_apply`, or
        `nothing_to_publish`.
        """
        steps: list[tuple[str, Change]] = []
        base_tree = tree = self.tree_of(base_sha)
        changed: list[trees.Change] = []
        passed: dict[trees.Change, None] = {}
        for change in changes:
            made = self.tree(base_sha, change.diff)
            differs = [*trees.changes(self.objects, base_tree, made)]
            if refusal := self._refusal(made, differs, passed):
                if change is changes[-1]:
                    raise refusal
            elif made != tree:
                tree, changed = made, differs
                steps.append((made, change))
                passed |= dict.fromkeys(differs)
        if tree == base_tree:
            raise EngineError("nothing_to_publish", "publish", _NOTHING)
        if message is not None:
            steps[-1] = (tree, replace(steps[-1][1], message=message))
        tip = base_sha
        for step, change in steps:
            tip = self.commit(step, [tip], change)
        added = {each.new_id: each.path for each in passed if each.exists}
        return Chain(base_sha, tip, [each.path for each in changed], added)

    def _refusal(
        self, tree: str, changed: Sequence[trees.Change], passed: Container[trees.Change]
    ) -> EngineError | None:
        """Why `tree`, which differs from that of the base in `changed`, must not be published. None: it may be.

        What has `passed` in an earlier tree is not searched again.
        """
        if trees.holds_secret(self.objects, [each for each in changed if each not in passed], self._secrets):
            return EngineError("contains_secret", "publish", SECRET)
        if may_be_forbidden(changed) and (forbidden := find_forbidden(self.git, tree)):
            return EngineError("forbidden_paths", "publish", _FORBIDDEN.format(named(forbidden)))
        return None

    def tree(self, base_sha: str, diff: Callable[[], Iterator[bytes]]) -> str:
        """The tree of the base with `diff` applied; raises EngineError `diff_does_not_apply` or `diff_too_large`."""
        with tempfile.TemporaryFile(dir=self.git.directory) as patch:
            for chunk in diff():
                patch.write(chunk)
            check_size(self.git, patch)
            self.contents.of_patch(base_sha, patch)
            return apply_patch(self.git, self.objects, base_sha, patch)

    def tree_of(self, commit: str) -> str:
        return self.objects.id_of(f"{commit}^{{tree}}")

    def commit(self, tree: str, parents: Iterable[str], change: Change) -> str:
        """Store a commit that is published, signed if the host has a key for that, and return its id. Raises EngineError
        `signing_failed`."""
        lines, message = self._parts(tree, parents, change)
        if self._host.signing_key is not None:
            try:
                signature = sign(_joined(lines, message), self._host.signing_key)
            except NotSigned as reason:
                log.warning("signing_failed", reason=str(reason))
                raise EngineError("signing_failed", "publish", _UNSIGNED) from reason
            header = "gpgsig" if self.git.object_format == "sha1" else "gpgsig-sha256"
            lines += [f"{header} " + signature.replace("\n", "\n ")]
        return self.objects.write("commit", _joined(lines, message))

    def _commit_here(self, tree: str, parents: Iterable[str], change: Change) -> str:
        """Store a commit that is needed for a merge only, and return its id."""
        return self.objects.write("commit", _joined(*self._parts(tree, parents, change)))

    def _parts(self, tree: str, parents: Iterable[str], change: Change) -> tuple[list[str], str]:
        """The lines of the header and the message of a commit, as `git cat-file commit` shows them."""
        author = f"{_plain(change.author_name) or 'Unknown'} <{_plain(change.author_email)}>"
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        lines += [f"author {author} {change.seconds} +0000", f"committer {self._host.committer} {change.seconds} +0000"]
        return lines, f"{change.message.strip()}\n\n{change.trailers}".replace("\0", "").strip()

    def is_ancestor(self, one: str, other: str) -> bool:
        """Whether `one` is `other` or in its history. False if `one` is not in this repository."""
        try:
            self.git.run("merge-base", "--is-ancestor", one, other)
        except GitFailed:
            return False
        return True

    def merge_since(self, base_tree: str, ours: str, theirs: str, change: Change) -> str:
        """As `merge`, with `base_tree` as the base, whatever the commits' histories are."""
        base = self._commit_here(base_tree, [], change)
        sides = (self._commit_here(self.tree_of(side), [base], change) for side in (ours, theirs))
        return self.merge(*sides)

    def reapply(
        self,
        base_sha: str,
        diff: Callable[[], Iterator[bytes]],
        tip: str,
        names: tuple[str, str] = ("branch", "runner"),
    ) -> str:
        """The tree of `tip` with `diff`, which was made on `base_sha`, merged into it.

        Raises `MergeConflict`, with the markers of both sides named so.
        """
        # The history does not matter, so a branch that was rewritten is no obstacle.
        change = Change("", "", 0, "", diff)
        base = self._commit_here(self.tree_of(base_sha), [], change)
        for name, tree in zip(names, (self.tree_of(tip), self.tree(base_sha, diff)), strict=True):
            self.git.run("update-ref", f"refs/{name}", self._commit_here(tree, [base], change))
        return self.merge(*names)

    def merge(self, ours: str, theirs: str) -> str:
        """The tree of the merge of both commits; raises `MergeConflict` with the files that conflict."""
        output = b""
        self.contents.of_merge(self.git, ours, theirs)
        try:
            for chunk in self.git.stream("merge-tree", "--write-tree", "-z", "--name-only", ours, theirs):
                output += chunk
        except GitFailed as failed:
            if "unrelated histories" in failed.errors:
                message = (
                    "The branch has no history in common with the commit that this runner started from, so they cannot "
                    "be merged. Commit to a branch that has, or to a new one."
                )
                raise EngineError("unrelated_histories", "publish", message) from None
            if failed.status != 1:
                raise
            raise _conflict(output.decode(errors="replace")) from None
        return output.decode().partition("\0")[0].strip()


def _conflict(output: str) -> MergeConflict:
    """What git-merge-tree(1) says of a merge with conflicts: the tree, the files, and then messages. Each of these has the
    number of its paths, the paths, a kind and a text."""
    listed, _, details = output.partition("\0\0")
    tree, *files = listed.split("\0")
    notes, fields = [], iter(details.split("\0"))
    while count := next(fields, ""):
        *_, kind, text = (next(fields, "") for _ in range(int(count) + 2))
        if kind.startswith("CONFLICT"):
            notes.append(text.strip())
    return MergeConflict(tree, list(dict.fromkeys(files)), notes)


@contextlib.contextmanager
def temporary_repository(
    host: Host, contents: Contents, secrets: Secrets, lifeline: Lifeline, stage: Stage = "publish"
) -> Iterator[Commits]:
    """A temporary bare git directory on top of the objects of the mirror that `contents` obtains. Its errors have that stage."""
    folder = host.work_dir / "publications"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove_orphans(folder)
    directory = Path(tempfile.mkdtemp(dir=folder))
    held = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(held, fcntl.LOCK_EX)
    limits = remote_limits(host)
    deadline = time.monotonic() + limits.seconds
    git = Git(directory, lifeline, stage, index=directory / "index", deadline=deadline, limits=limits)
    try:
        init_with_alternates(git, contents.mirror)
        commits = Commits(git, secrets, host, contents)
        with contextlib.closing(commits.objects):
            yield commits
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(held)


def _remove_orphans(folder: Path) -> None:
    """Remove the directories of lost workers. A directory in use is locked by its process."""
    for directory in folder.iterdir():
        with contextlib.suppress(OSError):
            held = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # A directory that has just been created is not locked yet.
                if time.time() - os.fstat(held).st_mtime > _CREATION_SECONDS:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    end_git_in(directory)
                    shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(held)


def named(files: Sequence[str]) -> str:
    """The first files, for a message."""
    return ", ".join(files[:_MOST_NAMED]) + (" and more" if len(files) > _MOST_NAMED else "")


def _joined(lines: Iterable[str], message: str) -> bytes:
    return "\n".join([*lines, "", message, ""]).encode(errors="replace")


def _plain(text: str) -> str:
    return re.sub(r"[<>\x00-\x1f\x7f]+", " ", text).strip()
