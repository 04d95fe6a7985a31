"""The directory of one attempt. `prepare`, `snapshot` and `dispose` are all that callers know of it, and `reopen` where
the worker was lost.

    workspaces/<session_id>-<attempt>/
        lock           held as long as anything of the attempt lives
        notes.json     what it takes to save the work, once setup is through
        ours.git/      our git directory; borrows objects from the mirror; the agent never sees it
        checkout/      the agent's files, with a `.git` of the agent's own that is never read back
        attachments/   what the caller uploaded
        home/          the agent's home
        withheld/      what configures agents, out of their reach
        withheld-home/ the same of the home

Host git runs in `ours.git` alone. Of the agent's files it reads contents and ignore rules, never configuration.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from io import FileIO
from pathlib import Path

from workers.errors import FULL_DISK, EngineError, disk_full, too_many_files
from workers.job import Host, Job, Limits
from workers.limits.budget import Budget
from workers.repository.git import Access, Git, GitFailed
from workers.repository.mirror import Mirror, borrow, plain_name
from workers.repository.patches import patched
from workers.repository.trees import with_kept, without_setup
from workers.safe_walk import walk
from workers.workspace import trash
from workers.workspace.agent_configuration import is_withheld, withhold, withhold_from_home
from workers.workspace.agent_repository import give_repository
from workers.workspace.partial_staging import others, stage_what_fits
from workers.workspace.untrackable import hidden

# The attributes in our directory outrank those in the checkout. Files are stored as they are, byte for byte, and
# no driver of any kind has a name; whether a file is text is left to what it holds (`!diff`).
ATTRIBUTES = "* -text -eol -crlf -ident -filter -working-tree-encoding -whitespace !diff !merge\n"
# Git refuses a few names in any tree, such as `.GIT`; a file called so is none that git can track.
_REFUSED_NAME = ("error: invalid path ", "error: unable to add ", "error: unable to index file ", "warning: ", "hint: ")
# What git takes for big goes into one pack at once, which for thousands of files is far quicker than a file each.
_INTO_ONE_PACK = Access(config=(("core.bigFileThreshold", "1"), ("advice.addEmbeddedRepo", "false")))
# Sparse files can be larger than any disk; a tree that honest work left is staged in seconds.
_ADD_SECONDS = 900.0
# A diff as large as may be is made in seconds too, unless it was made to take long.
_SAVING_SECONDS = 300.0
# What git needs at most for a binary file that fills a diff, and for a text file that it does not take for binary.
_MEMORY_FOR_DIFF, _LEAST_MEMORY = 8, 2**30
LOCK, _NOTES = "lock", "notes.json"
# What of a workspace no other process could find out.
_NOTED = ("base_sha", "base_tree", "start_tree", "_setup_tree", "_withholds")


class Workspace:
    """Made by `prepare` or `reopen`. `branch` is the one that the base was found on, `base_tree` the base commit's tree, `start_tree` the one this session begins on."""

    base_sha: str
    branch: str
    base_tree: str
    start_tree: str

    def __init__(self, job: Job, host: Host, budget: Budget | None) -> None:
        self._host = host
        self.root = host.work_dir / "workspaces" / f"{plain_name(job.session_id)}-{job.attempt}"
        self.checkout = self.root / "checkout"
        self.home = self.root / "home"
        self.attachments = self.root / "attachments"
        self.git = Git(self.root / "ours.git", job.lifeline, index=self.root / "ours.git" / "index", budget=budget)
        """Git on our directory, with no work tree: what only looks at trees never looks at the agent's files."""
        memory = max(_LEAST_MEMORY, _MEMORY_FOR_DIFF * job.limits.max_diff_bytes)
        self.saving = replace(
            self.git, lifeline=None, budget=None, stage="diff", timeout=_SAVING_SECONDS, memory=memory
        )
        """The same for saving work, which goes on when the agent has been killed by its lifeline, or for its time."""
        self.left_out: list[str] = []
        """What the last `snapshot` did not keep, because no diff could hold it."""
        self.withheld: list[str] = []
        """What `after_setup` moved out of the agent's reach, by its paths in the checkout or its home."""
        self._withholds = not job.allow_agent_configuration
        self._most_new = job.limits.max_diff_files if job.mode != "ask" else None
        self._setup_tree: str | None = None
        self._lock: FileIO | None = None

    @classmethod
    def prepare(cls, job: Job, host: Host, budget: Budget | None = None) -> Workspace:
        """Make the directory: the base, what earlier sessions did to it (`start_diff`), and folders for the rest.

        Raises EngineError with stage checkout: those of `Mirror.obtain`, `diff_does_not_apply`, `disk_full`, and
        `time_limit` where `budget` is used up. Whatever is raised, nothing is left behind.
        """
        workspace = cls(job, host, budget)
        trash.discard(host, workspace.root)
        try:
            workspace._make(job)
        except BaseException:
            workspace.dispose()
            raise
        return workspace

    @classmethod
    def reopen(cls, job: Job, host: Host) -> Workspace | None:
        """What an attempt left whose worker was lost, for one `snapshot`; None where its setup was not through, and at
        a second call. Nothing of the attempt lives any more, and nobody else does this meanwhile."""
        workspace = cls(job, host, budget=None)
        notes = workspace.root / _NOTES
        try:
            vars(workspace).update(json.loads(notes.read_bytes()))
            notes.unlink()
            # The attempt was lost amid a snapshot: nobody knows any more where these things were.
            with contextlib.suppress(FileNotFoundError):
                workspace._aside.rename(workspace.root / "aside-lost")
        except FileNotFoundError:
            return None
        return workspace

    @property
    def locks(self) -> tuple[int, ...]:
        """Descriptors that say, as long as any process holds them, that the attempt lives."""
        return () if self._lock is None else (self._lock.fileno(),)

    def after_setup(self, of_agent: Iterable[str] = ()) -> None:
        """Remember what the setup command left, so that it is no part of the diff unless the agent changes it.

        What configures agents is then moved away, unless the site allows it, also out of the home, where `of_agent` are
        the names that the agent's own files are to have. What was in the checkout comes back in the tree of `snapshot`;
        the files themselves end with the workspace. Raises EngineError as `snapshot` does, and `setup_failed`.
        """
        self._setup_tree = self._stage()
        if self._withholds:
            self._withhold(of_agent)
        self._take_notes()

    def snapshot(self, what_fits: Limits | None = None) -> str:
        """Store the files as they are now and return the id of their tree, without what only setup did.

        The tree is what git tracks plus what it does not ignore; with `what_fits` no more of it than fits into a diff
        of those limits. Call it when nothing of the agent's runs any more. Raises EngineError `snapshot_failed`,
        `too_many_files` and `disk_full` with stage diff.
        """
        final = self._stage(what_fits)
        if self._setup_tree is None:
            return final
        left_out = frozenset(self.left_out)

        def is_kept(path: str) -> bool:
            # The agent never saw what is withheld, and did not remove what it made too large to be read.
            return path in left_out or (self._withholds and is_withheld(path))

        final = with_kept(self.saving, self._setup_tree, final, is_kept)
        return without_setup(self.saving, self.start_tree, self._setup_tree, final)

    def dispose(self) -> None:
        """Remove the directory. Quick, and never an error: what cannot be deleted now is left to the sweep."""
        trash.discard(self._host, self.root)
        if self._lock is not None:
            self._lock.close()

    @property
    def _with_files(self) -> Git:
        return replace(self.git, work_tree=self.checkout)

    def _make(self, job: Job) -> None:
        mirror = Mirror(self._host, job.site_id, job.lifeline, self.git.budget)
        self.base_sha, self.branch = mirror.obtain(job)
        self._make_folders()
        self._make_git_directory(mirror.directory)
        self.base_tree = self.git.line("rev-parse", f"{self.base_sha}^{{tree}}")
        self._fill_index(job.start_diff)
        self._with_files.run("checkout-index", "--all", "--force", "--quiet", "--index")
        self._hand_over(job)

    def _make_folders(self) -> None:
        # Other users may pass through to the folders that become theirs, and see nothing on their way.
        self.root.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.root.mkdir(mode=0o711)
        self._lock = FileIO(os.open(self.root / LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for folder, mode in ((self.checkout, 0o700), (self.home, 0o700), (self.attachments, 0o755)):
            folder.mkdir(mode=mode)

    def _make_git_directory(self, mirror: Path) -> None:
        ours = self.git.directory
        borrow(self.git, mirror)
        ours.chmod(0o700)
        (ours / "info" / "attributes").write_text(ATTRIBUTES)

    def _fill_index(self, start_diff: Callable[[], Iterator[bytes]] | None) -> None:
        with tempfile.TemporaryFile(dir=self.root) as patch:
            patch.writelines(start_diff() if start_diff else ())
            self.start_tree = patched(self.git, self.base_sha, patch)

    def _hand_over(self, job: Job) -> None:
        """Give the agent a repository of its own, and all the files to the user that it runs as."""
        uid = self._host.sandbox_uid if os.geteuid() == 0 and self._host.sandbox == "bubblewrap" else None
        if uid is not None:
            _give(self.checkout, uid)
            _give(self.home, uid)
            # The new owner is part of what the index remembers of each file.
            self._with_files.run("update-index", "-q", "--refresh")
        is_absent = is_withheld if self._withholds else lambda path: False
        give_repository(self.git, self.checkout, self.base_sha, self.branch, job.repo_url, is_absent)
        if uid is not None:
            _give(self.checkout / ".git", uid)

    def _withhold(self, of_agent: Iterable[str]) -> None:
        try:
            self.withheld = withhold(self.checkout, self.root / "withheld")
            in_home = withhold_from_home(self.home, self.root / "withheld-home", of_agent)
            self.withheld += [f"~/{name}" for name in in_home]
        except OSError as error:
            if error.errno in FULL_DISK:
                raise disk_full("setup") from error
            message = f"A file that configures agents could not be moved away: {error.strerror}."
            raise EngineError("setup_failed", "setup", message) from error

    def _take_notes(self) -> None:
        """Write down what `reopen` reads, complete or not at all."""
        new = self.root / f"{_NOTES}.new"
        new.write_text(json.dumps({name: getattr(self, name) for name in _NOTED}))
        new.replace(self.root / _NOTES)

    @property
    def _aside(self) -> Path:
        return self.root / "aside"

    def _stage(self, what_fits: Limits | None = None) -> str:
        """Bring our index up to date with the files and return its tree."""
        git = replace(self.saving, work_tree=self.checkout)
        try:
            # Where a stop came amid an earlier staging, git was killed; nobody else uses this index.
            (self.git.directory / "index.lock").unlink(missing_ok=True)
            self._restore_folder()
            if what_fits:
                # Where everything was staged before, what turned out to be too much is to be new again.
                git.run("read-tree", "-m", self._setup_tree or self.start_tree)
            with hidden(self.checkout, self._aside) as unreadable:
                if self._setup_tree and self._most_new and not what_fits:
                    _check_number(git, self._most_new)
                passed_over = stage_what_fits(git, self.checkout, what_fits) if what_fits else _add_all(git)
            self.left_out = [*unreadable, *passed_over]
            return git.line("write-tree")
        except TimeoutError as error:
            raise EngineError("snapshot_failed", "diff", "The files are too large to be read in time.") from error
        except OSError as error:
            if error.errno in FULL_DISK:
                raise disk_full("diff") from error
            raise EngineError("snapshot_failed", "diff", f"The files could not be read: {error.strerror}.") from error
        except GitFailed as failed:
            raise EngineError("snapshot_failed", "diff", failed.message) from failed

    def _restore_folder(self) -> None:
        """A checkout that was deleted, or replaced by a link to elsewhere, is an empty one."""
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(self.checkout).st_mode):
                return
            self.checkout.unlink()
        self.checkout.mkdir(mode=0o700)


def _check_number(git: Git, most: int) -> None:
    """To list the files that are new is quick. To store them, only to find that no diff can hold them, is not."""
    with closing(others(git, timeout=_ADD_SECONDS)) as new:
        if sum(1 for _ in itertools.islice(new, most + 1)) > most:
            raise too_many_files(most)


def _add_all(git: Git) -> list[str]:
    """Stage everything. Names that git can put into no tree are passed over; any other error counts."""
    try:
        git.run("add", "--all", "--ignore-errors", "--", ".", access=_INTO_ONE_PACK, timeout=_ADD_SECONDS)
    except GitFailed as failed:
        if failed.status != 1 or not all(line.startswith(_REFUSED_NAME) for line in failed.errors.splitlines()):
            raise
    return []


def _give(top: Path, uid: int) -> None:
    """Make `uid` the owner of `top` and all it holds; links themselves, not what they lead to."""
    for folder in walk(top):
        os.chown(folder.descriptor, uid, uid)
        with os.scandir(folder.descriptor) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folder.inner.append(entry.name)
                else:
                    os.chown(entry.name, uid, uid, dir_fd=folder.descriptor, follow_symlinks=False)
