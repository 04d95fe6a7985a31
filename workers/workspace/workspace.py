"""The directory of one attempt. Callers use `prepare`, `snapshot` and `dispose`, and `reopen` if the worker was lost.

    workspaces/<session_id>-<attempt>/
        lock           held while any process of the attempt runs
        notes.json     what `reopen` needs to save the work; written after setup
        ours.git/      our git directory; borrows objects from the mirror; the agent never sees it
        checkout/      the agent's files, with a `.git` of the agent's own that is never read back
        attachments/   what the caller uploaded
        home/          the agent's home
        withheld/      agent configuration, moved out of the checkout
        withheld-home/ the same from the home

Host git runs in `ours.git` alone. Of the agent's files it reads contents and ignore rules, never configuration.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from io import FileIO
from pathlib import Path

from workers.job import Host, Job, Limits
from workers.lfs.cache import Cache
from workers.limits.budget import Budget
from workers.limits.git_limits import session_limits
from workers.processes.lifeline import Lifeline
from workers.repository.cone import Cone
from workers.repository.git import Git
from workers.repository.objects import Objects
from workers.repository.partial import is_partial
from workers.repository.plain_name import plain_name
from workers.repository.trees import changes, revert_setup_changes
from workers.sandbox.base import Overlay
from workers.workspace import reopening, trash
from workers.workspace.agent_configuration import is_withheld, withhold
from workers.workspace.agent_index import AgentIndex, index_mark, read_agent_index
from workers.workspace.checkout_creation import overlay_in
from workers.workspace.checkouts import open_checkout
from workers.workspace.conflicts import resolved_by_setup
from workers.workspace.kept_checkouts import keep
from workers.workspace.left_out import LeftOut, obtain_old_contents
from workers.workspace.lfs_files import LfsCheckout, LfsFiles, States, begins_lfs
from workers.workspace.plain_index import read_plain_index
from workers.workspace.staging import Staged, Work, stage
from workers.workspace.start import make_start
from workers.workspace.submodules import lost_histories
from workers.workspace.untrackable import is_too_long

# Saving may take until the session's time limit, but always this long; after a stop, or if it failed once, only this.
_SAVING_SECONDS = 60.0


def name_of(job: Job) -> str:
    """The name of an attempt's directory, which no other attempt has."""
    return f"{plain_name(job.session_id)}-{job.attempt}"


class Workspace:
    """Made by `prepare` or `reopen`.

    `branch` is the branch of the base commit, `base_tree` that commit's tree, and `start_tree` the tree that this attempt
    starts from. `session_tree` is the one that the session started from, which differs after an earlier attempt.
    """

    base_sha: str
    branch: str
    base_tree: str
    start_tree: str
    session_tree: str

    def __init__(self, job: Job, host: Host, budget: Budget | None) -> None:
        self._host, self._job = host, job
        self._site_id = job.site_id
        self.root = host.work_dir / "workspaces" / name_of(job)
        self.checkout = self.root / "checkout"
        self.home = self.root / "home"
        self.attachments = self.root / "attachments"
        self._aside = self.root / "aside"
        limits = session_limits(host, job.limits)
        index = self.root / "ours.git" / "index"
        self.git = Git(self.root / "ours.git", job.lifeline, index=index, budget=budget, limits=limits)
        """Git on our directory, without a work tree: commands that only need trees never read the agent's files."""
        self.saving = replace(self.git, stage="diff", limits=limits.for_diff(job.limits.max_diff_bytes))
        """The same for saving the agent's work. `begin_saving` gives it a deadline of its own."""
        self.left_out: list[str] = []
        """Paths that the last `snapshot` did not keep, because a diff cannot contain them."""
        self.notes: list[str] = []
        """Descriptions of other work that it did not keep."""
        self.withheld: list[str] = []
        """Paths in the checkout or the home that `after_setup` withheld from the agent."""
        self.lfs = LfsFiles(self.root, Cache(host, job.site_id))
        self.lfs_missing: list[str] = []
        """A line on each file of Git LFS whose content is not here."""
        self._lfs_states: States | None = None
        """None: the repository has no Git LFS."""
        self._may_use_lfs = job.repo_url.startswith(("https://", "http://"))
        self.missing: list[str] = []
        """Which of the job's `sparse_paths` are no folders of the base."""
        self._sparse_paths: Sequence[str] = job.sparse_paths
        self._withholds = not job.allow_agent_configuration
        self._conflict = job.conflict
        self._most_new = job.limits.max_diff_files if job.mode == "normal" else None
        self.is_set_up = False
        """Whether `after_setup` has ended, so that `snapshot` can tell the agent's work from what setup left."""
        self._setup_tree: str | None = None
        self._submodules: dict[str, str] = {}
        self._index_mark: list[int] = []
        self._base_withheld: Sequence[str] = ()
        self._lower = ""
        self._objects: Objects | None = None
        self._lock: FileIO | None = None

    @classmethod
    def prepare(cls, job: Job, host: Host, budget: Budget | None = None) -> Workspace:
        """Create the directory, with the base and the changes of earlier sessions and attempts checked out.

        Raises EngineError with stage checkout: those of `Mirror.obtain_base`, `diff_does_not_apply`, `diff_too_large`,
        `file_limit` and `disk_limit` before any file is written, `disk_full`, and `time_limit` if `budget` has no time
        left. If it raises, nothing is left behind.
        """
        workspace = cls(job, host, budget)
        trash.discard(host, workspace.root)
        try:
            workspace._begin()
        except BaseException:
            workspace.dispose()
            raise
        return workspace

    def _begin(self) -> None:
        lfs = self.lfs if self._may_use_lfs else None
        start = make_start(self._job, self._host, self.git, self.checkout, self.home, self.attachments, lfs)
        self.base_sha, self.branch, self.base_tree = start.base_sha, start.branch, start.base_tree
        self.session_tree, self.start_tree = start.session_tree, start.start_tree
        self.missing, self.lfs_missing, self._lfs_states = start.missing, start.lfs_missing, start.lfs_states
        self._lower, self._base_withheld = start.lower, start.base_withheld
        self._submodules, self._index_mark, self._lock = start.submodules, start.index_mark, start.lock

    @classmethod
    def reopen(cls, job: Job, host: Host) -> Workspace | None:
        """Open the workspace of a lost worker for one `snapshot`.

        None if its setup had not finished, or at a second call. No process of the attempt may be running, and the workspace must be locked.
        """
        workspace = cls(job, host, budget=None)
        fields = reopening.take(workspace.root)
        if fields is None:
            return None
        vars(workspace).update(fields, is_set_up=True)
        workspace.lfs.restore(workspace._lfs_states or {})
        # The worker was lost during a snapshot. The original places of these files are not known any more.
        with contextlib.suppress(FileNotFoundError):
            workspace._aside.rename(workspace.root / "aside-lost")
        return workspace

    @property
    def locks(self) -> tuple[int, ...]:
        """Descriptors of the lock. While any process has them open, the attempt counts as running."""
        return () if self._lock is None else (self._lock.fileno(),)

    @property
    def overlay(self) -> Overlay | None:
        """What the checkout is mounted from, if it is an overlay. Then `checkout` has what differs from the base."""
        return overlay_in(self.root, self.checkout, Path(self._lower)) if self._lower else None

    @property
    def objects(self) -> Objects:
        """What `saving` can read. Its process ends with the workspace."""
        if self._objects is None:
            self._objects = Objects(self.saving)
        return self._objects

    def after_setup(
        self,
        agent_files: Iterable[str] = (),
        *,
        has_run: bool = True,
        keep: Callable[[str], None] | None = None,
    ) -> None:
        """Record the files that the setup command left, so that the diff contains only the agent's changes.

        If none `has_run`, there is nothing to record, and no file is read. (Other systems than Linux may store names
        in a way of their own, so there the files are read.) `keep` is called then, with the tree of what setup left.
        Then withhold agent configuration, unless the site allows it, from the checkout and from the home, where
        `agent_files` are the names that we are about to write for the agent. The tree of `snapshot` contains what was
        withheld from the checkout; the files themselves are removed with the workspace. Raises EngineError as
        `snapshot` does, `setup_failed`, and `time_limit`.
        """
        if has_run or sys.platform != "linux":
            agent_index = self._read_agent_index([]) if index_mark(self.checkout) != self._index_mark else None
            self._setup_tree = self._stage(agent_index).tree
            self._index_mark = index_mark(self.checkout)
            if self._conflict:
                self.start_tree = resolved_by_setup(self._conflict, self.objects, self.start_tree, self._setup_tree)
        else:
            self._setup_tree = self.start_tree
        if keep:
            keep(self._setup_tree)
        if self._withholds:
            self.withheld = withhold(
                self.root, self.checkout, self.home, agent_files, self.overlay, self._base_withheld
            )
        self.close_objects()
        reopening.write(self.root, vars(self))
        self.is_set_up = True

    def begin_saving(self, lifeline: Lifeline | None = None) -> None:
        """Give `saving` a deadline of its own: the session's time limit, or the end of `lifeline` if that is earlier.

        Without a lifeline the attempt was stopped. Then, and at a second call, it is a minute.
        """
        is_first = self.saving.deadline is None
        left = self.git.budget.seconds_left if self.git.budget and lifeline and is_first else 0
        seconds = max(left, _SAVING_SECONDS)
        self.close_objects()
        self.saving = replace(self.saving, lifeline=lifeline, budget=None, deadline=time.monotonic() + seconds)

    def snapshot(self, diff_limits: Limits | None = None) -> str:
        """Store the current files and return the id of their tree, without changes that only setup made.

        The tree has the files that git tracks and those that it does not ignore; with `diff_limits`, only what fits
        into a diff of those limits. Call it when no process of the agent runs any more. Raises EngineError
        `snapshot_failed`, `too_many_files` and `disk_full` with stage diff.
        """
        self.notes = []
        agent_index = self._read_agent_index(self.notes)
        staged = self._stage(agent_index, diff_limits)
        if self._sparse_paths and is_partial(self.git.directory):
            seconds, lifeline = _SAVING_SECONDS, self.saving.lifeline
            cone = Cone.of(self._sparse_paths)
            obtain_old_contents(staged, self.objects, self.base_tree, cone, self._job, self._host, lifeline, seconds)
        self.left_out, self.notes = staged.left_out, self.notes + staged.notes
        if self._setup_tree is None:
            return staged.tree
        changed = list(changes(self.objects, self._setup_tree, staged.tree))
        if self._may_use_lfs and self._lfs_states is None and begins_lfs(self.objects, changed):
            staged.tree = self.lfs.clean(self.saving, self.objects, self._setup_tree, staged.tree)
            changed = list(changes(self.objects, self._setup_tree, staged.tree))
        self.notes += [*self.lfs.notes, *lost_histories(staged.repositories, changed)]
        kept = {os.fsencode(path) for path in self.left_out} | (agent_index.sparse if agent_index else frozenset())

        def is_kept(path: bytes) -> bool:
            # The agent did not delete files that were withheld from it, or that cannot be checked out or staged.
            return path in kept or is_too_long(path) or (self._withholds and is_withheld(os.fsdecode(path)))

        return revert_setup_changes(self.objects, self.start_tree, self._setup_tree, staged.tree, changed, is_kept)

    def dispose(self, *, reusable: bool = False) -> None:
        """Remove the directory. This is quick and never raises; the sweep removes what cannot be deleted now.

        With `reusable`, a whole checkout is kept for the next attempt on this site. Then all processes must have ended.
        """
        self.close_objects()
        if reusable:
            with contextlib.suppress(OSError):
                # If the worker is lost now, no one may take an empty checkout for work of the agent.
                reopening.remove(self.root)
                keep(self._host, self._site_id, Cone.of(self._sparse_paths), self.checkout)
        trash.discard(self._host, self.root)
        if self._lock is not None:
            self._lock.close()

    def close_objects(self) -> None:
        """End the process behind `objects`. The next use starts another."""
        if self._objects is not None:
            self._objects.close()
            self._objects = None

    def _read_agent_index(self, notes: list[str]) -> AgentIndex | None:
        """The agent's index; `notes` say if it cannot be read. None if there is none, or it has not changed since."""
        is_known = index_mark(self.checkout) == self._index_mark and not self._submodules
        if is_known or self.checkout.is_symlink() or not os.path.lexists(self.checkout / ".git"):
            return None
        plain = None if self._submodules else read_plain_index(self.overlay, self.git.object_format)
        return plain or read_agent_index(self._host, self, self.base_sha, self.locks, notes)

    def _stage(self, agent_index: AgentIndex | None, diff_limits: Limits | None = None) -> Staged:
        cone, before = Cone.of(self._sparse_paths), self._setup_tree or self.start_tree
        files = open_checkout(self.overlay, self.objects, self.base_tree, cone)
        if self._lfs_states is not None:
            files = LfsCheckout(files, self.lfs, self.objects)
        submodules = {os.fsencode(path): commit for path, commit in self._submodules.items()}
        most_new = self._most_new if self._setup_tree else None
        work = Work(self.checkout, self._aside, files, before, submodules, agent_index, most_new, diff_limits)
        staged = stage(self.saving, work)
        if cone:
            dropped = agent_index.dropped if agent_index else ()
            LeftOut(self.objects, cone, self.base_tree, before).restore(staged, dropped)
        return staged
