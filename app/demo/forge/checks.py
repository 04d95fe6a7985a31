"""Checks of commits: check runs with logs, as GitHub Actions makes them, and commit statuses. Stored in a file like pull
requests.

https://docs.github.com/en/rest/checks/runs and https://docs.github.com/en/rest/commits/statuses
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from werkzeug.exceptions import NotFound

from app.demo.forge.pulls import lock, now
from app.demo.forge.repositories import Repository

_FILE = "checks.json"


@dataclass(frozen=True)
class Check:
    """A check run, or a commit status. `state` is the conclusion of the one (empty: it runs), or the state of the other."""

    id: int
    sha: str
    name: str
    state: str
    is_status: bool = False
    summary: str | None = None
    """The description of a status, or what a check run says."""
    url: str | None = None
    log: str | None = None
    """The log of the job. None: it is no job of Actions, or its log has expired."""
    at: str = field(default_factory=now)


def of_commit(repository: Repository, sha: str, *, statuses: bool) -> list[Check]:
    """The check runs or the statuses of a commit, each name once with what was reported last."""
    return list({check.name: check for check in reports(repository, sha, statuses=statuses)}.values())


def reports(repository: Repository, sha: str, *, statuses: bool) -> list[Check]:
    """Everything that was reported for a commit, in order."""
    return [check for check in _stored(repository) if check.sha == sha and check.is_status == statuses]


def find(repository: Repository, check_id: int) -> Check:
    """A check run by its id; raises `NotFound`."""
    found = next((check for check in _stored(repository) if check.id == check_id and not check.is_status), None)
    if found is None:
        raise NotFound()
    return found


def numbers(repository: Repository, check: Check) -> tuple[int, int]:
    """The number of the run of a job in its repository, and of the job in the run. Each commit has one run."""
    names = [each.name for each in of_commit(repository, check.sha, statuses=False)]
    return 1 + _with_runs(repository).index(check.sha), names.index(check.name)


def of_run(repository: Repository, number: int) -> list[Check]:
    """The jobs of a run; raises `NotFound`."""
    commits = _with_runs(repository)
    if not 0 < number <= len(commits):
        raise NotFound()
    return of_commit(repository, commits[number - 1], statuses=False)


def report(repository: Repository, sha: str, name: str, state: str, **more: Any) -> Check:
    """Report the outcome of a check on a commit; the fields are those of `Check`. A repeat of its name replaces it."""
    with lock:
        known = _stored(repository)
        check = Check(id=1 + max((each.id for each in known), default=2000), sha=sha, name=name, state=state, **more)
        repository.store(_FILE, [*known, check])
        return check


def resolve(repository: Repository, ref: str) -> str:
    """The commit that a branch or an id names; raises `NotFound`."""
    branches = repository.branches()
    name = ref.removeprefix("heads/")
    if name in branches:
        return branches[name]
    found = repository.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if found.returncode:
        raise NotFound()
    return found.stdout.strip()


def _with_runs(repository: Repository) -> list[str]:
    return list(dict.fromkeys(each.sha for each in _stored(repository) if not each.is_status))


def _stored(repository: Repository) -> list[Check]:
    return [Check(**values) for values in repository.stored(_FILE)]
