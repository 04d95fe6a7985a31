"""A session of the mode rebase: the runner's diff, merged into the tip of its branch. No agent and no sandbox."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from workers.errors import EngineError, Interrupted
from workers.interruption import Interruption
from workers.job import Event, Host, Job, Outcome, Progress, Step
from workers.limits.budget import Budget
from workers.publishing.commits import Commits, MergeConflict, named, temporary_repository
from workers.redaction import Redactor
from workers.repository.git import Git
from workers.repository.mirror import Mirror
from workers.repository.objects import Objects
from workers.workspace.diffs import write_diffs


def rebase(job: Job, host: Host) -> Generator[Event, None, Outcome]:
    """Reapply the job's `start_diff`, which was made on its `base_sha`, on the tip of its branch, by a three-way merge.

    Both diffs are those between the tip and the merged tree: what comes before them has another base. The outcome's
    `base_sha` is the tip. Events, failures and interruptions are as in `workers.attempt.run`; the work of an interrupted
    one is not kept.
    """
    redactor = Redactor(job.secrets)
    try:
        return redactor.outcome((yield from _rebase(job, host)))
    except EngineError as failure:
        return redactor.outcome(Outcome(failure=failure))
    except (SystemExit, Interrupted):
        Interruption(job).report()
        return Outcome(interrupted=True)


def _rebase(job: Job, host: Host) -> Generator[Event, None, Outcome]:
    assert job.start_diff is not None
    yield Progress("fetching")
    mirror = Mirror(host, job.site_id, job.lifeline, Budget(job.limits), job.fetch_patience_seconds)
    old, branch = mirror.obtain_base(job)
    new, _ = mirror.obtain_base(replace(job, base_sha=None, sha=None))
    yield Progress("saving")
    with temporary_repository(host, mirror.directory, job.secrets, job.lifeline, "diff") as commits:
        behind_by = int(commits.git.line("rev-list", "--count", f"{old}..{new}"))
        try:
            tree = commits.reapply(old, job.start_diff, new)
        except MergeConflict as conflict:
            raise _conflict(branch, conflict) from None
        with _compared(commits, new) as trees:
            written = write_diffs(trees, job, tree)
    title = f"Reapplied on {new[:12]}, the tip of {branch}"
    yield Step(title, f"The work was based on {old[:12]}. The branch has {behind_by:,} commits more.")
    return Outcome(
        base_sha=new, has_result_diff=written.result, has_cumulative_diff=written.cumulative, result=f"{title}."
    )


class _Trees:
    """What `write_diffs` compares: the tree of a commit, as the base and the start, in a temporary repository."""

    def __init__(self, commits: Commits, base_sha: str) -> None:
        self.saving: Git = commits.git
        self.root: Path = commits.git.directory
        self.objects = Objects(commits.git)
        self.base_tree = self.session_tree = commits.tree_of(base_sha)
        (self.root / "info").mkdir(exist_ok=True)

    def close_objects(self) -> None:
        self.objects.close()


@contextmanager
def _compared(commits: Commits, base_sha: str) -> Iterator[_Trees]:
    trees = _Trees(commits, base_sha)
    with closing(trees.objects):
        yield trees


def _conflict(branch: str, conflict: MergeConflict) -> EngineError:
    message = (
        f"The branch {branch} has changed in the same places: {named(conflict.files)}. The runner is as it was. Have a "
        "session resolve this, or start a new runner from the branch."
    )
    return EngineError("rebase_conflict", "diff", message)
