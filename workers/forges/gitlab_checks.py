"""Jobs and commit statuses of GitLab, and the logs of jobs: https://docs.gitlab.com/api/commits/#list-the-statuses-of-a-commit"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from workers.forges.checks import Check, Outcome
from workers.forges.gitlab import PERMISSION
from workers.forges.http import Limits
from workers.forges.logs import Logs
from workers.forges.places import api_and_path
from workers.forges.rest import Refusal, Rest
from workers.job import Host

_API = "/api/v4"
# No one has to act on one that was cancelled or left out.
_PASSED = ("success", "canceled", "skipped")
_PER_PAGE, _MOST_PAGES = 100, 3
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class GitLabChecks:
    """`workers.forges.checks.Checks` for one project of GitLab."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        api, self._name = api_and_path(repo_url, api_url, _API)
        self._project = f"/projects/{quote(self._name, safe='')}"
        self._page = f"{api.removesuffix(_API)}/{quote(self._name)}/-"
        self._rest = Rest("GitLab", api, token, host, limits, permission=PERMISSION)
        self._logs = Logs(self._rest)

    def find(self, ref: str) -> list[Check]:
        """See `Checks`. The list has the jobs of all pipelines of the commit, also of those that another one repeated, and of
        the newest one for the result of merging it."""
        with self._rest.translated():
            merged = self._find_merged_result(ref) if _SHA.fullmatch(ref) else None
            found = [each for commit in (ref, merged) if commit for each in self._statuses(commit)]
            oldest_first = sorted(found, key=lambda each: int(each["id"]))
            return [self._check(each) for each in {each["name"]: each for each in oldest_first}.values()]

    def read_log(self, log_id: str) -> str:
        """See `Checks`. https://docs.gitlab.com/api/jobs/#get-a-log-file"""
        return self._logs.read(f"{self._project}/jobs/{log_id}/trace", f"the log of job {log_id} in {self._name}")

    def _find_merged_result(self, sha: str) -> str | None:
        """The commit on which the newest pipeline for merged results has run, if it merges the newest commit of an open
        merge request: https://docs.gitlab.com/ci/pipelines/merged_results_pipelines/

        The API does not say what a pipeline has merged. The commit does: it is its second parent.
        """
        path, what = f"{self._project}/repository/commits", f"the merge requests of {sha} in {self._name}"
        pulls = self._rest.get(f"{path}/{sha}/merge_requests", what, state="opened", per_page=_PER_PAGE)
        number = next((int(each["iid"]) for each in pulls if _is_newest(sha, each)), None)
        if number is None:
            return None
        what = f"the pipelines of merge request {number} of {self._name}"
        found = self._rest.get(f"{self._project}/merge_requests/{number}/pipelines", what, per_page=_PER_PAGE)
        pipelines = [each for each in found if each["ref"] == f"refs/merge-requests/{number}/merge"]
        if not pipelines:
            return None
        merged = str(max(pipelines, key=lambda each: int(each["id"]))["sha"])
        try:
            commit = self._rest.get(f"{path}/{quote(merged, safe='')}", f"the commit {merged} of {self._name}")
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            # It is on no branch, so it may be gone.
            return None
        return merged if sha in commit["parent_ids"] else None

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


def _is_newest(sha: str, merge_request: Any) -> bool:
    """Whether it is the newest commit of an open merge request within the project."""
    is_own = merge_request["source_project_id"] == merge_request["target_project_id"]
    return is_own and merge_request["state"] in ("opened", "locked") and merge_request["sha"] == sha


def _outcome(status: Any) -> Outcome:
    """https://docs.gitlab.com/ci/jobs/#available-job-statuses: nothing waits for a job that is allowed to fail."""
    state, is_optional = status["status"], status["allow_failure"]
    if state in _PASSED or (is_optional and state in ("failed", "manual")):
        return Outcome.PASSED
    return {"failed": Outcome.FAILED, "manual": Outcome.STALLED}.get(state, Outcome.RUNNING)
