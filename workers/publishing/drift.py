"""How far the branch of a runner has moved since its base, and whether its diff still merges into the branch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from workers.job import Credential, Host, Secrets
from workers.processes.lifeline import Lifeline
from workers.publishing.commits import MergeConflict, temporary_repository
from workers.repository.mirror import Mirror

_MOST_CONFLICTS = 1_000


@dataclass(frozen=True)
class DriftJob:
    """Which base is compared with the tip of which branch. `diff` is the runner's; None: it has none."""

    site_id: str
    repo_url: str
    base_sha: str | None
    branch: str
    diff: Callable[[], Iterator[bytes]] | None = field(repr=False)
    secrets: Secrets
    lifeline: Lifeline
    credential: Credential | None = field(default=None, repr=False)
    sha: None = None
    partial_clone: bool = False


@dataclass(frozen=True)
class Drift:
    """`behind_by` counts the commits of the branch that the base lacks; `conflicts` names the files that conflict."""

    tip: str
    behind_by: int
    conflicts: tuple[str, ...] = ()


def measure_drift(job: DriftJob, host: Host) -> Drift:
    """Fetch the branch and compare it with the base. Raises EngineError as `Mirror.obtain_base` does."""
    mirror = Mirror(host, job.site_id, job.lifeline)
    base_sha, _ = mirror.obtain_base(job)
    tip, _ = mirror.obtain_base(replace(job, base_sha=None))
    with temporary_repository(host, mirror.contents(job), job.secrets, job.lifeline) as commits:
        behind_by = int(commits.git.line("rev-list", "--count", f"{base_sha}..{tip}"))
        if not behind_by or job.diff is None:
            return Drift(tip, behind_by)
        try:
            commits.reapply(base_sha, job.diff, tip)
        except MergeConflict as conflict:
            return Drift(tip, behind_by, tuple(conflict.files[:_MOST_CONFLICTS]))
        return Drift(tip, behind_by)
