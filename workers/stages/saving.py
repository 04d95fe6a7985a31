"""Saves the work of an attempt: its diffs go to the job's sink, and steps report what the diffs could not keep."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

from workers.errors import FULL_DISK, EngineError, disk_full
from workers.events import Step, listed
from workers.job import Job
from workers.processes.lifeline import Lifeline
from workers.repository.forbidden import find_forbidden
from workers.workspace.conflicts import refuse_unresolved
from workers.workspace.diffs import Written, write_diffs
from workers.workspace.lfs_saving import store_lfs_objects
from workers.workspace.workspace import Workspace

log = logging.getLogger(__name__)

_SECRET = (
    "A changed file contains a known secret, such as the site's access token. The diff is stored unchanged, but cannot "
    "be published. Remove the value in another session, or revert to a session before this one."
)
_UNSEARCHED = (
    "There was no time left to look for known secrets in the changed files. The diff is stored unchanged, but cannot be "
    "published. Have another session change fewer or smaller files."
)
_ROUGH = "Git took too long to compare the files. The diff shows renamed files as deleted and added, and larger ones as binary files."
_FORBIDDEN = (
    "Git forbids these paths or their content, because they can be used to attack whoever checks them out. The diff is "
    "stored unchanged, but cannot be published. Rename or remove them in another session:\n"
)
_SUBMODULES = "Of a submodule, the diff has the commit that it points to and none of its files:\n"
_POINTERS = (
    "Git LFS keeps the content of these files, so the diff has pointers to it. New content is stored with the session, and is "
    "uploaded when the change is published:\n"
)


@dataclass(frozen=True)
class Saved:
    """What was saved: which diffs were written, whether anything was changed, and the steps to report."""

    written: Written = field(default_factory=Written)
    is_changed: bool = False
    steps: tuple[Step, ...] = ()


def save_work(job: Job, workspace: Workspace, *, complete: bool, lifeline: Lifeline | None = None) -> Saved:
    """Write the diffs of the agent's work, unless the session's mode keeps none.

    If setup has not finished, only the work of earlier sessions is written. With `complete`, work that exceeds the
    limits is an error; without it, what fits is kept. `lifeline` is the attempt's, if it was not stopped. Raises what
    `snapshot` and `write_diffs` do, and with `complete` EngineError `conflicts_left`.
    """
    workspace.begin_saving(lifeline)
    # Files of a setup command that failed are not the agent's work.
    tree = workspace.snapshot(None if complete else job.limits) if workspace.is_set_up else workspace.start_tree
    if job.mode != "normal":
        changed = tree != workspace.start_tree
        edits = Step(
            "The agent's edits were discarded", f"Mode {job.mode} keeps no edits. Use mode normal to keep them."
        )
        return Saved(is_changed=changed, steps=(edits,) if changed else ())
    if complete and job.conflict:
        refuse_unresolved(job.conflict, workspace.objects, workspace.base_tree, tree)
    # First what the diffs point to.
    has_secret = store_lfs_objects(job, workspace, tree)
    written = write_diffs(workspace, job, tree, contains_secret=has_secret)
    return Saved(written, written.result, tuple(_steps(workspace, tree, written)))


def as_failure(error: Exception) -> EngineError:
    """The EngineError for an error during saving. An error that is a bug of ours is raised again."""
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return disk_full("diff")
    if isinstance(error, TimeoutError):
        message = "Git took too long to compare the files. Change fewer or smaller files in one session."
        return EngineError("diff_too_large", "diff", message)
    if isinstance(error, EngineError):
        return error
    raise error


def not_saved(error: Exception) -> Step:
    """The step for work that is lost, although less of it was tried than all."""
    reason = "The worker's log has the reason."
    with contextlib.suppress(Exception):
        reason = as_failure(error).message
    return Step("The work could not be saved", reason)


def _steps(workspace: Workspace, tree: str, written: Written) -> Iterator[Step]:
    lost = [*workspace.left_out, *workspace.notes]
    if lost:
        yield Step("Left out of the diff", listed(lost))
    if written.submodules:
        yield Step("The diff changes submodules", _SUBMODULES + listed(written.submodules))
    if written.lfs_pointers:
        yield Step("The diff changes files of Git LFS", _POINTERS + listed(written.lfs_pointers))
    if written.is_rough:
        yield Step("The files were compared roughly", _ROUGH)
    if written.contains_secret:
        yield Step("The diff contains a secret", _SECRET)
    if written.is_unsearched:
        yield Step("The diff was not searched for secrets", _UNSEARCHED)
    if written.may_be_forbidden and (forbidden := _find_forbidden(workspace, tree)):
        yield Step("The diff contains files that git forbids", _FORBIDDEN + listed(forbidden))


def _find_forbidden(workspace: Workspace, tree: str) -> list[str]:
    """The paths that git forbids. A timeout is only logged: the diffs are stored, and publishing checks again."""
    with contextlib.suppress(EngineError, TimeoutError):
        return find_forbidden(workspace.saving, tree)
    log.warning("a diff could not be checked for files that git forbids; it is checked again before it is published")
    return []
