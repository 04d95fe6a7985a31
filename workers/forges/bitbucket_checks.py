"""Build statuses of commits on Bitbucket, which Pipelines sets as well, and the logs of its steps.

https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlsplit

from workers.errors import EngineError
from workers.forges.bitbucket_api import Repository
from workers.forges.checks import Check, Outcome
from workers.forges.http import Limits
from workers.forges.logs import Logs
from workers.forges.places import location
from workers.job import Host

_MOST_PAGES = 6
# No one has to act on one that was stopped.
_OUTCOMES = {"FAILED": Outcome.FAILED, "INPROGRESS": Outcome.RUNNING}
_SHA = re.compile(r"[0-9a-f]{40}")
_PIPELINE = re.compile(r"/pipelines/(?:home#!/)?results/(\d+)")
_FAILED = ("FAILED", "ERROR")


class BitbucketChecks:
    """`workers.forges.checks.Checks` for one repository of Bitbucket Cloud."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        self._repository = Repository(repo_url, api_url, token, host, limits)
        self._rest, self._logs = self._repository.rest, Logs(self._repository.rest)
        self._path = f"/repositories/{quote(self._repository.name)}"
        self._server = urlsplit(location(repo_url)[0]).hostname

    def find(self, ref: str) -> list[Check]:
        """See `Checks`. A status replaces that with the same key."""
        with self._rest.translated():
            path = f"{self._path}/commit/{ref if _SHA.fullmatch(ref) else self._get_tip(ref)}/statuses"
            found = self._repository.pages(path, f"the checks of {ref} in {self._repository.name}", _MOST_PAGES)
            return [self._check(each) for each in found]

    def read_log(self, log_id: str) -> str:
        """See `Checks`. The log of the first step of the pipeline that failed."""
        steps = f"{self._path}/pipelines/{log_id}/steps"
        what = f"pipeline {log_id} of {self._repository.name}"
        try:
            with self._rest.translated():
                found = self._repository.pages(steps, f"the steps of {what}", _MOST_PAGES)
                failed = next((str(each["uuid"]) for each in found if _result(each) in _FAILED), None)
        except EngineError:
            return ""
        return self._logs.read(f"{steps}/{quote(failed, safe='')}/log", f"the log of {what}") if failed else ""

    def _get_tip(self, branch: str) -> str:
        path, what = f"{self._path}/refs/branches/{quote(branch)}", f"the branch {branch} of {self._repository.name}"
        return quote(str(self._rest.get(path, what)["target"]["hash"]), safe="")

    def _check(self, status: Any) -> Check:
        url = status.get("url") or ""
        pipeline = _PIPELINE.search(url) if urlsplit(url).hostname == self._server else None
        outcome = _OUTCOMES.get(status["state"], Outcome.PASSED)
        name = str(status.get("name") or status["key"])
        return Check(name, outcome, status.get("description") or "", url, pipeline[1] if pipeline else None)


def _result(step: Any) -> str | None:
    result = (step.get("state") or {}).get("result") or {}
    return result.get("name")
