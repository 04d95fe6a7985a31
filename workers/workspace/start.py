"""Makes what an attempt starts from: its folders, our git directory, and the checkout with the work of earlier sessions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from io import FileIO
from pathlib import Path

from workers.job import Host, Job
from workers.repository.cone import Cone
from workers.repository.git import Git
from workers.repository.mirror import Mirror
from workers.repository.objects import Objects
from workers.repository.trees import changes
from workers.workspace import lfs_start, preparation
from workers.workspace.agent_configuration import withheld_at_top
from workers.workspace.agent_index import index_mark
from workers.workspace.base import open_base
from workers.workspace.checkout_creation import NewCheckout, create_checkout
from workers.workspace.left_out import find_missing
from workers.workspace.lfs_files import LfsFiles, States
from workers.workspace.overlay_probe import can_overlay

LOCK = "lock"


@dataclass
class Start:
    """What an attempt starts from. The fields are those of `Workspace`."""

    base_sha: str
    branch: str
    base_tree: str
    session_tree: str
    start_tree: str
    lock: FileIO
    missing: list[str] = field(default_factory=list)
    submodules: dict[str, str] = field(default_factory=dict)
    lower: str = ""
    base_withheld: Sequence[str] = ()
    lfs_missing: list[str] = field(default_factory=list)
    lfs_states: States | None = None
    index_mark: list[int] = field(default_factory=list)


def make_start(
    job: Job, host: Host, git: Git, checkout: Path, home: Path, attachments: Path, lfs: LfsFiles | None
) -> Start:
    """Make the folders, and check out the base with the changes of earlier sessions and attempts.

    `git` is on our new git directory. Without `lfs` no files of Git LFS are fetched. Raises EngineError as
    `Workspace.prepare` does, OSError, and what `Git.run` does.
    """
    mirror = Mirror(host, job.site_id, job.lifeline, git.budget)
    base_sha, branch = mirror.obtain_base(job)
    mirror_git = Git(mirror.directory, job.lifeline, budget=git.budget, limits=git.limits)
    cone, contents = Cone.of(job.sparse_paths), mirror.contents(job)
    contents.of_tree(base_sha, cone)
    with ExitStack() as stack, open_base(host, job.site_id, base_sha, mirror_git, cone) as base:
        lock = stack.enter_context(preparation.make_folders(checkout.parent / LOCK, checkout, home, attachments))
        preparation.make_git_directory(git, mirror.directory)
        base_tree = base.facts.tree
        with closing(Objects(git)) as objects:
            # A whole checkout is written from the index; an overlay has an index of what is touched, when it is staged.
            tree_with = partial(preparation.start_tree, git, objects, base, fills_index=not can_overlay(host))
            session_tree = start_tree = tree_with(job.start_diff, contents)
            if job.earlier and job.earlier.diff:
                start_tree = tree_with(job.earlier.diff, contents)
            if job.conflict:
                # The diffs of earlier sessions have another base, so all of the work is the result of this one.
                session_tree = base_tree
            start = Start(base_sha, branch, base_tree, session_tree, start_tree, lock)
            start.missing = find_missing(objects, base_tree, cone) if cone else []
            changed = list(changes(objects, base_tree, start_tree))
            base.extent.after(objects, changed).check(git.limits, "checkout")
            start.submodules = preparation.find_submodules(base, changed)
            withholds = not job.allow_agent_configuration
            new = NewCheckout(checkout, home, git, base, branch, job.repo_url, changed, withholds)
            overlay = create_checkout(new, host, job.site_id, objects, start_tree, mirror_git)
            if overlay:
                start.lower, start.base_withheld = str(overlay.lower), withheld_at_top(base.facts.withheld)
            if lfs:
                missing = lfs_start.fill(job, host, lfs, base, objects, start_tree, changed, git, checkout, overlay)
                if missing is not None:
                    start.lfs_missing, start.lfs_states = missing, lfs.states
        start.index_mark = index_mark(checkout)
        stack.pop_all()
    return start
