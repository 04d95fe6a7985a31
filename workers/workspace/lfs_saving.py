"""Stores the content of files of Git LFS that a session added, because its diffs have only the pointers."""

from __future__ import annotations

from workers.job import Job
from workers.repository.trees import changes
from workers.workspace.diffs import Chunks
from workers.workspace.workspace import Workspace


def store_lfs_objects(job: Job, workspace: Workspace, tree: str) -> bool:
    """Store the new objects that the files of `tree` point to. Returns whether one of them holds a known secret.

    Raises OSError, and whatever the sink and `Objects` raise.
    """
    if not workspace.lfs.new:
        return False
    new = workspace.lfs.new_in(workspace.objects, changes(workspace.objects, workspace.session_tree, tree))
    # The store may be waited for, and a stop meanwhile must leave no process behind.
    workspace.close_objects()
    has_secret = False
    for oid, path in new.items():
        with open(path, "rb") as file:
            has_secret = job.secrets.are_in(Chunks(file)) or has_secret
            job.sink.write_lfs_object(oid, Chunks(file))
    workspace.lfs.share()
    return has_secret
