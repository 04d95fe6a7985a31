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
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
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
from workers.repository.mirror import Mirror
from workers.repository.objects import Objects
from workers.repository.partial import is_partial
from workers.repository.plain_name import plain_name
from workers.repository.trees import Change, changes, revert_setup_changes
from workers.sandbox.base import Overlay
from workers.workspace import agent_configuration, lfs_start, preparation, trash
from workers.workspace.agent_configuration import is_withheld
from workers.workspace.agent_index import AgentIndex, index_mark, read_agent_index
from workers.workspace.base import Base, open_base
from workers.workspace.base_files import open_files
from workers.workspace.checkout_creation import NewCheckout, create_overlay, create_whole
from workers.workspace.checkouts import Checkout, OverlayCheckout, WholeCheckout
from workers.workspace.conflicts import resolved_by_setup
from workers.workspace.kept_checkouts import keep
from workers.workspace.left_out import LeftOut, find_missing, with_old_contents
from workers.workspace.lfs_files import LfsCheckout, LfsFiles, States, begins_lfs
from workers.workspace.lfs_tracked import find_at_start
from workers.workspace.overlay import hide
from workers.workspace.overlay_probe import can_overlay
from workers.workspace.staging import Staged, stage
from workers.workspace.submodules import lost_histories
from workers.workspace.untrackable import is_too_long

# Saving may take until the session's time limit, but always this long; after a stop, or if it failed once, only this.
_SAVING_SECONDS = 60.0
LOCK, _STATE = "lock", "notes.json"
# The fields of a workspace that `reopen` cannot derive.
_STATE_FIELDS = (
    *("base_sha", "base_tree", "start_tree", "session_tree"),
    *("_setup_tree", "_withholds", "_submodules", "_index_mark", "_lower", "_lfs_states", "_sparse_paths"),
)


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
        self.root = host.work_dir / "workspaces" / f"{plain_name(job.session_id)}-{job.attempt}"
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
            workspace._make(job)
        except BaseException:
            workspace.dispose()
            raise
        return workspace

    @classmethod
    def reopen(cls, job: Job, host: Host) -> Workspace | None:
        """Open the workspace of a lost worker for one `snapshot`.

        None if its setup had not finished, or at a second call. No process of the attempt may be running, and the workspace must be locked.
        """
        workspace = cls(job, host, budget=None)
        state = workspace.root / _STATE
        try:
            vars(workspace).update(json.loads(state.read_bytes()))
            # A worker of an earlier release did not write this one.
            vars(workspace).setdefault("session_tree", workspace.start_tree)
            workspace.lfs.restore(workspace._lfs_states or {})
            state.unlink()
            # The worker was lost during a snapshot. The original places of these files are not known any more.
            with contextlib.suppress(FileNotFoundError):
                workspace._aside.rename(workspace.root / "aside-lost")
        except FileNotFoundError:
            return None
        return workspace

    @property
    def locks(self) -> tuple[int, ...]:
        """Descriptors of the lock. While any process has them open, the attempt counts as running."""
        return () if self._lock is None else (self._lock.fileno(),)

    @property
    def overlay(self) -> Overlay | None:
        """What the checkout is mounted from, if it is an overlay. Then `checkout` has what differs from the base."""
        return Overlay(Path(self._lower), self.checkout, self.root / "overlay") if self._lower else None

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
            self._withhold(agent_files)
        self.close_objects()
        self._save_state()

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
            staged = self._with_old_contents(staged)
        self.left_out, self.notes = staged.left_out, self.notes + staged.notes
        if self._setup_tree is None:
            return staged.tree
        changed = list(changes(self.objects, self._setup_tree, staged.tree))
        if self._may_use_lfs and self._lfs_states is None and begins_lfs(self.objects, changed):
            staged.tree = self.lfs.clean(self.saving, self.objects, self._setup_tree, staged.tree)
            changed = list(changes(self.objects, self._setup_tree, staged.tree))
        self.notes += lost_histories(staged.repositories, changed)
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
                (self.root / _STATE).unlink(missing_ok=True)
                keep(self._host, self._site_id, Cone.of(self._sparse_paths), self.checkout)
        trash.discard(self._host, self.root)
        if self._lock is not None:
            self._lock.close()

    def _make(self, job: Job) -> None:
        mirror = Mirror(self._host, job.site_id, job.lifeline, self.git.budget)
        self.base_sha, self.branch = mirror.obtain_base(job)
        git = Git(mirror.directory, job.lifeline, budget=self.git.budget, limits=self.git.limits)
        cone, contents = Cone.of(self._sparse_paths), mirror.contents(job)
        contents.of_tree(self.base_sha, cone)
        with open_base(self._host, job.site_id, self.base_sha, git, cone) as base:
            self.base_tree = base.facts.tree
            self._lock = preparation.make_folders(self.root / LOCK, self.checkout, self.home, self.attachments)
            preparation.make_git_directory(self.git, mirror.directory)
            self.session_tree = self.start_tree = preparation.fill_index(self.git, base, job.start_diff, contents)
            if job.earlier and job.earlier.diff:
                self.start_tree = preparation.fill_index(self.git, base, job.earlier.diff, contents)
            if job.conflict:
                # The diffs of earlier sessions have another base, so all of the work is the result of this one.
                self.session_tree = self.base_tree
            with closing(Objects(self.git)) as objects:
                self.missing = find_missing(objects, self.base_tree, cone) if cone else []
                changed = list(changes(objects, self.base_tree, self.start_tree))
                base.extent.after(objects, changed).check(self.git.limits, "checkout")
                self._submodules = preparation.find_submodules(base, changed)
                new = NewCheckout(
                    self.checkout, self.home, self.git, base, self.branch, job.repo_url, changed, self._withholds
                )
                if can_overlay(self._host):
                    self._lower = str(open_files(self._host, base, git))
                    assert self.overlay is not None
                    create_overlay(new, self.overlay, objects, self.start_tree, self._host.sandbox_uid)
                    self._base_withheld = agent_configuration.withheld_at_top(base.facts.withheld)
                else:
                    create_whole(new, self._host, job.site_id, self.start_tree)
                if self._may_use_lfs:
                    self._write_lfs_files(job, base, objects, changed)
        self._index_mark = index_mark(self.checkout)

    def _write_lfs_files(self, job: Job, base: Base, objects: Objects, changed: Sequence[Change]) -> None:
        found = find_at_start(base.folder, base.facts.tree, self.git, objects, self.start_tree, changed)
        if found is not None:
            self.lfs_missing = lfs_start.fill(job, self._host, self.lfs, self.git, *found, self.checkout, self.overlay)
            self._lfs_states = self.lfs.states

    def _withhold(self, agent_files: Iterable[str]) -> None:
        try:
            withheld = set(agent_configuration.withhold(self.checkout, self.root / "withheld"))
            if overlay := self.overlay:
                withheld.update(path for path in self._base_withheld if hide(overlay, os.fsencode(path)))
            self.withheld = sorted(withheld)
            in_home = agent_configuration.withhold_from_home(self.home, self.root / "withheld-home", agent_files)
            self.withheld += [f"~/{name}" for name in in_home]
        except OSError as error:
            raise agent_configuration.not_withheld(error) from error

    def _save_state(self) -> None:
        """Write the file that `reopen` reads, atomically."""
        new = self.root / f"{_STATE}.new"
        new.write_text(json.dumps({name: getattr(self, name) for name in _STATE_FIELDS}))
        new.replace(self.root / _STATE)

    def close_objects(self) -> None:
        """End the process behind `objects`. The next use starts another."""
        if self._objects is not None:
            self._objects.close()
            self._objects = None

    def _with_old_contents(self, staged: Staged) -> Staged:
        """`staged`, without changes of files that were not checked out if their old content cannot be obtained."""
        host = replace(self._host, fetch_timeout_seconds=min(self._host.fetch_timeout_seconds, _SAVING_SECONDS))
        lifeline = self.saving.lifeline or Lifeline(2 * _SAVING_SECONDS)
        contents = Mirror(host, self._site_id, lifeline).contents(self._job)
        cone, changed = Cone.of(self._sparse_paths), changes(self.objects, self.base_tree, staged.tree)
        staged.tree, notes = with_old_contents(self.objects, contents, cone, changed, staged.tree)
        return replace(staged, notes=[*staged.notes, *notes])

    def _read_agent_index(self, notes: list[str]) -> AgentIndex | None:
        """The agent's index; `notes` say if it cannot be read. None if there is none, or it has not changed since."""
        is_known = index_mark(self.checkout) == self._index_mark and not self._submodules
        if is_known or self.checkout.is_symlink() or not os.path.lexists(self.checkout / ".git"):
            return None
        return read_agent_index(self._host, self, self.base_sha, self.locks, notes)

    def _stage(self, agent_index: AgentIndex | None, diff_limits: Limits | None = None) -> Staged:
        cone, before = Cone.of(self._sparse_paths), self._setup_tree or self.start_tree
        files: Checkout = WholeCheckout()
        if overlay := self.overlay:
            files = OverlayCheckout(overlay, self.objects, self.base_tree, cone)
        if self._lfs_states is not None:
            files = LfsCheckout(files, self.lfs, self.objects)
        staged = stage(
            self.saving,
            self.checkout,
            self._aside,
            files,
            submodules={os.fsencode(path): commit for path, commit in self._submodules.items()},
            agent_index=agent_index,
            most_new=self._most_new if self._setup_tree else None,
            diff_limits=diff_limits,
            before=before,
        )
        if cone:
            left_out = LeftOut(self.objects, cone, self.base_tree, before)
            staged.tree, notes = left_out.restored(staged.tree)
            staged.notes += [*notes, *left_out.notes_on_removed(agent_index.dropped if agent_index else ())]
        return staged
