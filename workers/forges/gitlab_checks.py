"""Jobs and commit statuses of GitLab, and the logs of jobs: https://docs.gitlab.com/api/commits/#list-the-statuses-of-a-commit"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from workers.forges.checks import Check, Outcome
from workers.forges.gitlab import PERMISSION
from workers.forges.http import Limits
from workers.forges.logs import Logs
from workers.forges.places import api_and_path
from workers.forges.rest import Rest
from workers.job import Host

_API = "/api/v4"
# No one has to act on one that was cancelled or left out.
_PASSED = ("success", "canceled", "skipped")
_PER_PAGE, _MOST_PAGES = 100, 3


class GitLabChecks:
    """`workers.forges.checks.Checks` for one project of GitLab."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        api, self._name = api_and_path(repo_url, api_url, _API)
        self._project = f"/projects/{quote(self._name, safe='')}"
        self._page = f"{api.removesuffix(_API)}/{quote(self._name)}/-"
        self._rest = Rest("GitLab", api, token, host, limits, permission=PERMISSION)
        self._logs = Logs(self._rest)

    def find(self, ref: str) -> list[Check]:
        """See `Checks`. The list has the jobs of all pipelines of the commit, also of those that another one repeated."""
        with self._rest.translated():
            oldest_first = sorted(self._statuses(ref), key=lambda each: int(each["id"]))
            return [self._check(each) for each in {each["name"]: each for each in oldest_first}.values()]

    def read_log(self, log_id: str) -> str:
        """See `Checks`. https://docs.gitlab.com/api/jobs/#get-a-log-file"""
        return self._logs.read(f"{self._project}/jobs/{log_id}/trace", f"the log of job {log_id} in {self._name}")

    def _statuses(self, ref: str) -> Iterator[Any]:
        path = f"{self._project}/repository/commits/{quote(ref, safe='')}/statuses"
        for page in range(1, _MOST_PAGES + 1):
            found = self._rest.get(path, f"the checks of {ref} in {self._name}", per_page=_PER_PAGE, page=page)
            yield from found
            if len(found) < _PER_PAGE:
                return

    def _check(self, status: Any) -> Check:
        name, outcome, summary = str(status["name"]), _outcome(status), status["description"] or ""
        if status["target_url"]:
            # Of another system, which has its log.
            return Check(name, outcome, summary, status["target_url"])
        job = int(status["id"])
        return Check(name, outcome, summary, f"{self._page}/jobs/{job}", str(job))


def _outcome(status: Any) -> Outcome:
    """https://docs.gitlab.com/ci/jobs/#available-job-statuses: nothing waits for a job that is allowed to fail."""
    state, is_optional = status["status"], status["allow_failure"]
    if state in _PASSED or (is_optional and state in ("failed", "manual")):
        return Outcome.PASSED
    return {"failed": Outcome.FAILED, "manual": Outcome.STALLED}.get(state, Outcome.RUNNING)
