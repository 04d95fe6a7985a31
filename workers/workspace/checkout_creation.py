"""Fills the checkout of an attempt: with all files, or as an overlay on the files of the base."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workers.job import Host
from workers.repository.git import Git
from workers.repository.objects import SUBMODULE, Objects
from workers.repository.trees import Change, unchanged_time
from workers.sandbox.base import Overlay
from workers.workspace.agent_repository import (
    adapt_index,
    add_old_contents,
    copy_index,
    create_agent_repository,
    set_branch,
)
from workers.workspace.base import LINK, Base
from workers.workspace.base_files import index_of, open_files
from workers.workspace.earlier_work import write_earlier_work
from workers.workspace.kept_checkouts import note_prepared, reuse
from workers.workspace.overlay_probe import can_overlay
from workers.workspace.ownership import change_owner


@dataclass(frozen=True)
class NewCheckout:
    """An empty checkout, and what it is to contain.

    `git` has the index of the files. `changed` is how the work of the runner's earlier sessions differs from the base.
    `withholds`: agent configuration will be moved out of it.
    """

    checkout: Path
    home: Path
    git: Git
    base: Base
    branch: str
    repo_url: str
    changed: Sequence[Change]
    withholds: bool


def create_checkout(
    new: NewCheckout, host: Host, site_id: str, objects: Objects, start_tree: str, mirror: Git
) -> Overlay | None:
    """Fill the checkout, as an overlay if the host can mount one. Returns what it is mounted from then.

    `start_tree` is the tree of all of its files. Raises OSError and what `Git.run` does.
    """
    if not can_overlay(host):
        _create_whole(new, host, site_id, start_tree)
        return None
    overlay = overlay_in(new.checkout.parent, new.checkout, open_files(host, new.base, mirror))
    _create_overlay(new, overlay, objects, start_tree, host.sandbox_uid)
    return overlay


def overlay_in(root: Path, checkout: Path, lower: Path) -> Overlay:
    """What the checkout in the folder of an attempt is mounted from: `lower` has the files of the base."""
    return Overlay(lower, checkout, root / "overlay")


def _create_overlay(new: NewCheckout, overlay: Overlay, objects: Objects, start_tree: str, uid: int) -> None:
    """Make the checkout show the files of the base below the work of earlier sessions, and the agent's repository.

    Raises OSError and what `Git.run` does.
    """
    # The base is kept as long as this link to it exists.
    (new.checkout.parent / LINK).symlink_to(new.base.folder)
    overlay.work.mkdir(mode=0o700)
    for folder in (new.checkout, new.home):
        change_owner(folder, uid)
    if new.changed:
        write_earlier_work(overlay, objects, new.changed, start_tree)
    repository = new.checkout / ".git"
    repository.mkdir()
    set_branch(repository, new.base, new.branch, new.repo_url)
    add_old_contents(new.git, repository, new.base, new.changed)
    shows_all = new.base.facts.withheld and not new.withholds
    if shows_all or any(_is_in_index(new.base, change) for change in new.changed):
        copy_index(index_of(overlay.lower) if shows_all else overlay.lower / ".git" / "index", repository)
        with unchanged_time(repository / "index"):
            theirs = replace(new.git, index=repository / "index", work_tree=new.checkout)
            adapt_index(theirs, new.base, new.changed, ())
    change_owner(repository, uid)


def _is_in_index(base: Base, change: Change) -> bool:
    """Whether the agent's index shows the change."""
    return SUBMODULE in (change.old_mode, change.new_mode) or not base.cone.has(change.path)


def _create_whole(new: NewCheckout, host: Host, site_id: str, start_tree: str) -> None:
    """Write all files into the checkout, and the agent's repository, and make its user the owner of all of them.

    Files of an earlier attempt are used again where they are the same. Raises OSError and what `Git.run` does.
    """
    reuse(host, site_id, new.base.cone, new.checkout, new.git, start_tree)
    with_files = replace(new.git, work_tree=new.checkout)
    with_files.run("checkout-index", "--all", "--force", "--quiet", "--index")
    uid = host.sandbox_uid if os.geteuid() == 0 and host.sandbox == "bubblewrap" else None
    if uid is not None:
        change_owner(new.checkout, uid)
        change_owner(new.home, uid)
        # The index records the owner of each file.
        with_files.run("update-index", "-q", "--refresh")
    note_prepared(new.checkout, new.git)
    create_agent_repository(
        new.git, new.checkout, new.base, new.branch, new.repo_url, new.changed, withholds=new.withholds
    )
    if uid is not None:
        change_owner(new.checkout / ".git", uid)
