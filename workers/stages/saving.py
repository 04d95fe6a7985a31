"""Saving what an attempt did: its diffs go to the job's sink, and what they could not keep becomes steps."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

from workers.errors import FULL_DISK, EngineError, disk_full
from workers.job import Job, Step
from workers.processes.lifeline import Lifeline
from workers.repository.forbidden import find_forbidden
from workers.workspace.diffs import Written, write_diffs
from workers.workspace.workspace import Workspace

log = logging.getLogger(__name__)

_NAMED = 100
_SECRET = (
    "A file that was changed holds a value which is known to be secret, such as the site's access token. The diff is "
    "stored as it is, but it is not published. Have the value taken out by another session, or go back to before it."
)
_FORBIDDEN = (
    "Git forbids these paths, or what they hold, because they are used to attack whoever checks them out. The diff is "
    "stored as it is, but it is not published. Have another session rename or remove them:\n"
)


@dataclass(frozen=True)
class Saved:
    """What came of it: which diffs were written, whether anything was changed at all, and what there is to say."""

    written: Written = field(default_factory=Written)
    is_changed: bool = False
    steps: tuple[Step, ...] = ()


def save_work(
    job: Job, workspace: Workspace, *, began: bool, all_of_it: bool, lifeline: Lifeline | None = None
) -> Saved:
    """Write the diffs of what the agent did, unless the session only asked.

    Where the agent never `began`, that is what earlier sessions did. `all_of_it` fails where it is too much; without it,
    what fits is kept. `lifeline` is the attempt's, if it was not stopped. Raises what `snapshot` and `write_diffs` do.
    """
    workspace.begin_saving(lifeline)
    # What a setup command left before it failed is no work of the agent.
    tree = workspace.snapshot(None if all_of_it else job.limits) if began else workspace.start_tree
    if job.mode == "ask":
        changed = tree != workspace.start_tree
        edits = Step("The agent's edits were dropped", "This session only asked a question.")
        return Saved(is_changed=changed, steps=(edits,) if changed else ())
    written = write_diffs(workspace, job, tree)
    return Saved(written, written.result, tuple(_steps(workspace, tree, written)))


def as_failure(error: Exception) -> EngineError:
    """The failure that an error while the work was saved is; one of our own faults is raised again."""
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return disk_full("diff")
    if isinstance(error, TimeoutError):
        return EngineError("diff_too_large", "diff", "The change takes git more time to compare than it may.")
    if isinstance(error, EngineError):
        return error
    raise error


def _steps(workspace: Workspace, tree: str, written: Written) -> Iterator[Step]:
    lost = [*workspace.left_out, *workspace.notes]
    if lost:
        yield Step("Not everything fits into a diff; what was left out", _listed(lost))
    if written.contains_secret:
        yield Step("The diff contains a secret", _SECRET)
    if written.cumulative and (forbidden := _find_forbidden(workspace, tree)):
        yield Step("The diff holds what git forbids", _FORBIDDEN + _listed(forbidden))


def _find_forbidden(workspace: Workspace, tree: str) -> list[str]:
    """The diffs are stored by now, and publishing looks again, so that it took too long is no reason to fail."""
    with contextlib.suppress(EngineError, TimeoutError):
        return find_forbidden(workspace.saving, tree)
    log.warning("whether git forbids what an agent made could not be found out")
    return []


def _listed(lines: list[str]) -> str:
    more = [f"and {len(lines) - _NAMED:,} more"] if len(lines) > _NAMED else []
    return "\n".join(itertools.chain(lines[:_NAMED], more))
