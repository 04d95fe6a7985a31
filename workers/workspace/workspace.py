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
import json
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from io import FileIO
from pathlib import Path

from workers.errors import FULL_DISK, EngineError, disk_full
from workers.job import Host, Job, Limits
from workers.limits.budget import Budget
from workers.processes.lifeline import Lifeline
from workers.repository.git import Git
from workers.repository.mirror import Mirror, plain_name
from workers.repository.trees import Change, changes, revert_setup_changes
from workers.workspace import preparation, trash
from workers.workspace.agent_configuration import is_withheld, withhold, withhold_from_home
from workers.workspace.agent_index import AgentIndex, read_agent_index
from workers.workspace.agent_repository import give_repository
from workers.workspace.ownership import change_owner
from workers.workspace.staging import Staged, stage

# Saving goes on until the session's own end, and for so long at least; after a stop for so long at most.
_SAVING_SECONDS, _STOPPED_SECONDS = 300.0, 120.0
# What git needs at most for a binary file that fills a diff, and for a text file that it does not take for binary.
_MEMORY_FOR_DIFF, _LEAST_MEMORY = 8, 2**30
LOCK, _NOTES = "lock", "notes.json"
# What of a workspace no other process could find out.
_NOTED = ("base_sha", "base_tree", "start_tree", "_setup_tree", "_withholds", "_submodules", "_index_mark")


class Workspace:
    """Made by `prepare` or `reopen`.

    `branch` is the one that the base was found on, `base_tree` the base commit's tree, `start_tree` the one that this
    session begins on.
    """

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
        memory = max(_LEAST_MEMORY, _MEMORY_FOR_DIFF * job.limits.max_diff_bytes)
        self.git = Git(self.root / "ours.git", job.lifeline, index=self.root / "ours.git" / "index", budget=budget)
        """Git on our directory, with no work tree: what only looks at trees never looks at the agent's files."""
        self.saving = replace(self.git, stage="diff", memory=memory)
        """The same on what the agent left. From `snapshot` on it has a time of its own."""
        self.left_out: list[str] = []
        """Paths that the last `snapshot` did not keep, because no diff could hold them."""
        self.notes: list[str] = []
        """What else it did not keep, in words."""
        self.withheld: list[str] = []
        """What `after_setup` moved out of the agent's reach, by its paths in the checkout or its home."""
        self._withholds = not job.allow_agent_configuration
        self._most_new = job.limits.max_diff_files if job.mode != "ask" else None
        self._setup_tree: str | None = None
        self._submodules: dict[str, str] = {}
        self._index_mark: list[int] = []
        self._lock: FileIO | None = None

    @classmethod
    def prepare(cls, job: Job, host: Host, budget: Budget | None = None) -> Workspace:
        """Make the directory: the base, what earlier sessions did to it (`start_diff`), and folders for the rest.

        Raises EngineError with stage checkout: those of `Mirror.obtain_base`, `diff_does_not_apply`, `disk_full`, and
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
        the files themselves end with the workspace. Raises EngineError as `snapshot` does, `setup_failed`, and
        `time_limit`.
        """
        said = self._ask_agent_index() if _mark(self.checkout) != self._index_mark else None
        self._setup_tree = self._stage(said).tree
        self._index_mark = _mark(self.checkout)
        if self._withholds:
            self._withhold(of_agent)
        self._take_notes()

    def begin_saving(self, lifeline: Lifeline | None = None) -> None:
        """Give `saving` a time of its own: until the session's end, but not longer than `lifeline`. Without a lifeline the
        attempt was stopped, and two minutes are all there is."""
        left = self.git.budget.seconds_left if self.git.budget else 0
        seconds = max(left, _SAVING_SECONDS) if lifeline else _STOPPED_SECONDS
        self.saving = replace(self.saving, lifeline=lifeline, budget=None, deadline=time.monotonic() + seconds)

    def snapshot(self, what_fits: Limits | None = None) -> str:
        """Store the files as they are now and return the id of their tree, without what only setup did.

        The tree is what git tracks plus what it does not ignore; with `what_fits` no more of it than fits into a diff
        of those limits. Call it when nothing of the agent's runs any more. Raises EngineError `snapshot_failed`,
        `too_many_files` and `disk_full` with stage diff.
        """
        said = self._ask_agent_index()
        staged = self._stage(said, what_fits)
        self.left_out, self.notes = staged.left_out, staged.notes
        if self._setup_tree is None:
            return staged.tree
        changed = list(changes(self.saving, self._setup_tree, staged.tree))
        self.notes += _histories(staged.repositories, changed)
        kept = {os.fsencode(path) for path in self.left_out} | (said.sparse if said else frozenset())

        def is_kept(path: bytes) -> bool:
            # The agent never saw what is withheld, and did not remove what it made too large to be read.
            return path in kept or (self._withholds and is_withheld(os.fsdecode(path)))

        return revert_setup_changes(self.saving, self.start_tree, self._setup_tree, staged.tree, changed, is_kept)

    def dispose(self) -> None:
        """Remove the directory. Quick, and never an error: what cannot be deleted now is left to the sweep."""
        trash.discard(self._host, self.root)
        if self._lock is not None:
            self._lock.close()

    def _make(self, job: Job) -> None:
        mirror = Mirror(self._host, job.site_id, job.lifeline, self.git.budget)
        self.base_sha, self.branch = mirror.obtain_base(job)
        self._make_folders()
        preparation.make_git_directory(self.git, mirror.directory)
        self.base_tree = self.git.line("rev-parse", f"{self.base_sha}^{{tree}}")
        self.start_tree = preparation.fill_index(self.git, self.base_sha, job.start_diff)
        self._submodules = preparation.find_submodules(self.git)
        with_files = replace(self.git, work_tree=self.checkout)
        with_files.run("checkout-index", "--all", "--force", "--quiet", "--index")
        self._hand_over(job, with_files)
        self._index_mark = _mark(self.checkout)

    def _make_folders(self) -> None:
        # Other users may pass through to the folders that become theirs, and see nothing on their way.
        self.root.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.root.mkdir(mode=0o711)
        self._lock = FileIO(os.open(self.root / LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for folder, mode in ((self.checkout, 0o700), (self.home, 0o700), (self.attachments, 0o755)):
            folder.mkdir(mode=mode)

    def _hand_over(self, job: Job, with_files: Git) -> None:
        """Give the agent a repository of its own, and all the files to the user that it runs as."""
        uid = self._host.sandbox_uid if os.geteuid() == 0 and self._host.sandbox == "bubblewrap" else None
        if uid is not None:
            change_owner(self.checkout, uid)
            change_owner(self.home, uid)
            # The new owner is part of what the index remembers of each file.
            with_files.run("update-index", "-q", "--refresh")
        is_absent = is_withheld if self._withholds else lambda path: False
        give_repository(self.git, self.checkout, self.base_sha, self.branch, job.repo_url, self._submodules, is_absent)
        if uid is not None:
            change_owner(self.checkout / ".git", uid)

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

    def _ask_agent_index(self) -> AgentIndex | None:
        """What the agent's index says; None where there is none, or where nothing touched it since we last looked."""
        if self.checkout.is_symlink() or not os.path.lexists(self.checkout / ".git"):
            return None
        if _mark(self.checkout) == self._index_mark and not self._submodules:
            return None
        return read_agent_index(self._host, self, self.base_sha, self.locks)

    def _stage(self, said: AgentIndex | None, what_fits: Limits | None = None) -> Staged:
        return stage(
            self.saving,
            self.checkout,
            self._aside,
            submodules={os.fsencode(path): commit for path, commit in self._submodules.items()},
            said=said,
            most_new=self._most_new if self._setup_tree else None,
            what_fits=what_fits,
            before=self._setup_tree or self.start_tree,
        )


def _mark(checkout: Path) -> list[int]:
    """What changes whenever the index of the agent's repository does."""
    with contextlib.suppress(OSError):
        status = os.lstat(checkout / ".git" / "index")
        return [status.st_ino, status.st_size, status.st_ctime_ns]
    return []


def _histories(repositories: set[str], changed: list[Change]) -> list[str]:
    """A word on each nested repository of which the agent's work holds the files: what it knows besides is not kept."""
    found = set()
    for change in changed if repositories else ():
        parts = os.fsdecode(change.path).split("/") if change.exists else []
        found |= repositories.intersection("/".join(parts[:cut]) for cut in range(1, len(parts)))
    return [f"{folder}/.git: the history of a nested repository; its files are kept" for folder in sorted(found)]
