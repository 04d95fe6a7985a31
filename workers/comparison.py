"""The diff between the files of two sessions of a runner. No agent and no sandbox."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from workers.errors import EngineError
from workers.job import Credential, Host, Limits, Secrets
from workers.processes.lifeline import Lifeline
from workers.publishing.commits import temporary_repository
from workers.repository.mirror import Mirror
from workers.workspace.diffs import Chunks, make_diff


@dataclass(frozen=True)
class Side:
    """The files of a session: its cumulative diff, applied to its base. `base_sha` None: an external worker did not
    report it, so it is the requested commit, or the tip of the branch."""

    base_sha: str | None
    diff: Callable[[], Iterator[bytes]] = field(repr=False)


@dataclass(frozen=True)
class ComparisonJob:
    """Which sessions are compared. `store` is called with the diff, and may read it more than once."""

    site_id: str
    repo_url: str
    branch: str | None
    sha: str | None
    old: Side
    new: Side
    secrets: Secrets
    lifeline: Lifeline
    limits: Limits
    store: Callable[[Iterable[bytes]], None] = field(repr=False)
    credential: Credential | None = field(default=None, repr=False)
    base_sha: str | None = None
    partial_clone: bool = False


def compare_sessions(job: ComparisonJob, host: Host) -> bool:
    """Make and store the diff. False: the files are the same, and nothing is stored.

    Raises EngineError as `Mirror.obtain_base` does, `diff_does_not_apply`, `too_many_files`, `diff_too_large` and
    `fetch_timeout`.
    """
    mirror = Mirror(host, job.site_id, job.lifeline)
    try:
        bases = [mirror.obtain_base(replace(job, base_sha=side.base_sha))[0] for side in (job.old, job.new)]
        with temporary_repository(host, mirror.contents(job), job.secrets, job.lifeline, "diff") as commits:
            sides = zip(bases, (job.old, job.new), strict=True)
            old, new = [commits.tree(base_sha, side.diff) for base_sha, side in sides]
            commits.contents.of_diff(commits.git, old, new)
            (commits.git.directory / "info").mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=commits.git.directory) as file:
                differ = make_diff(commits.git, commits.objects, old, new, job.limits, file)
                # The store may be waited for.
                commits.objects.close()
                if differ:
                    job.store(Chunks(file))
        return differ
    except TimeoutError as error:
        message = "Git took too long to compare the sessions. Request it again later."
        raise EngineError("fetch_timeout", "diff", message, retryable=True) from error
