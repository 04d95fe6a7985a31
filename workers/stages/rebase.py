"""A session of the mode rebase: the runner's diff, merged into the tip of its branch. An agent runs only for conflicts."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

from workers.errors import EngineError, Interrupted
from workers.events import Event, Outcome, Progress, Step
from workers.job import Conflict, Host, Job
from workers.limits.budget import Budget
from workers.publishing.commits import Commits, MergeConflict, named, temporary_repository
from workers.redaction import Redactor
from workers.repository.git import Git
from workers.repository.mirror import Mirror
from workers.stages.interruption import Interruption
from workers.workspace.diffs import Chunks, make_diff, write_diffs


def merge_file(host: Host) -> IO[bytes]:
    """A file for `rebase`, which is removed when it is closed."""
    host.work_dir.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=host.work_dir)


def rebase(job: Job, host: Host, file: IO[bytes]) -> Generator[Event, None, Outcome | Job]:
    """Reapply the job's `start_diff`, which was made on its `base_sha`, on the tip of its branch, by a three-way merge.

    Both diffs are those between the tip and the merged tree: what comes before them has another base. The outcome's
    `base_sha` is the tip. Events, failures and interruptions are as in `workers.attempt.run`; the work of an interrupted
    one is not kept.

    If there is a conflict and the job resolves it, the result is the job in which an agent does that. It reads the merge,
    with the conflicts marked, from `file`.
    """
    if job.earlier and job.earlier.diff:
        # An earlier attempt has merged, and its agent has begun.
        return _resolution(job, Conflict(job.branch or "", job.base_sha or ""))
    redactor = Redactor(job.secrets)
    try:
        rebased = yield from _rebase(job, host, file)
        return redactor.outcome(rebased) if isinstance(rebased, Outcome) else rebased
    except EngineError as failure:
        return redactor.outcome(Outcome(failure=failure))
    except (SystemExit, Interrupted):
        Interruption(job).report()
        return Outcome(interrupted=True)


def _rebase(job: Job, host: Host, file: IO[bytes]) -> Generator[Event, None, Outcome | Job]:
    assert job.start_diff is not None
    yield Progress("fetching")
    mirror = Mirror(host, job.site_id, job.lifeline, Budget(job.limits), job.fetch_patience_seconds)
    old, branch = mirror.obtain_base(job)
    new, _ = mirror.obtain_base(replace(job, base_sha=None, sha=None))
    yield Progress("saving")
    with temporary_repository(host, mirror.contents(job), job.secrets, job.lifeline, "diff") as commits:
        behind_by = int(commits.git.line("rev-list", "--count", f"{old}..{new}"))
        message = f"The work was based on {old[:12]}. The branch has {behind_by:,} commits more."
        trees = _Trees(commits, new)
        try:
            tree = commits.reapply(old, job.start_diff, new, Conflict(branch, new).names)
        except MergeConflict as conflict:
            if not job.resolves:
                raise _failure(branch, conflict) from None
            differs = make_diff(commits.git, trees.objects, trees.base_tree, conflict.tree, job.limits, file)
            title = f"Conflicts with {new[:12]}, the tip of {branch}, in {named(conflict.files)}"
            yield Redactor(job.secrets).step(Step(title, "\n".join([message, *conflict.notes[:100]])))
            found = Conflict(branch, new, tuple(conflict.files), tuple(conflict.notes))
            return _resolution(job, found, file if differs else None)
        written = write_diffs(trees, job, tree)
    title = f"Reapplied on {new[:12]}, the tip of {branch}"
    yield Step(title, message)
    return Outcome(
        base_sha=new, has_result_diff=written.result, has_cumulative_diff=written.cumulative, result=f"{title}."
    )


def _resolution(job: Job, conflict: Conflict, merged: IO[bytes] | None = None) -> Job:
    """The job in which an agent resolves the conflict, from the merge in `merged`, or from what an earlier attempt left."""
    start_diff = partial(iter, Chunks(merged)) if merged else None
    return replace(
        job, mode="normal", base_sha=conflict.tip, sha=None, start_diff=start_diff, conflict=conflict, may_ask=False
    )


class _Trees:
    """What `write_diffs` compares: the tree of a commit, as the base and the start, in a temporary repository."""

    def __init__(self, commits: Commits, base_sha: str) -> None:
        self.saving: Git = commits.git
        self.root: Path = commits.git.directory
        self.objects = commits.objects
        self.base_tree = self.session_tree = commits.tree_of(base_sha)
        (self.root / "info").mkdir(exist_ok=True)

    def close_objects(self) -> None:
        self.objects.close()


def _failure(branch: str, conflict: MergeConflict) -> EngineError:
    message = (
        f"The branch {branch} has changed in the same places: {named(conflict.files)}. The runner is as it was. Rebase "
        "with `resolve: agent`, or start a new runner from the branch."
    )
    return EngineError("rebase_conflict", "diff", message)
