"""Builds and statuses of Azure DevOps: https://learn.microsoft.com/rest/api/azure/devops/build/builds/list

A build for a pull request runs on a merge with its base, so it names the commit of the pull request apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from workers.errors import EngineError
from workers.forges.azure_devops import HEADS
from workers.forges.azure_rest import AzureRest, place_of
from workers.forges.checks import Check, Outcome
from workers.forges.http import Limits
from workers.forges.logs import Logs
from workers.job import Host

_PER_PAGE, _MOST_PAGES = 100, 2
_SHA = re.compile(r"[0-9a-f]{40}")
# No one has to act on one that was cancelled, or that has only warnings.
_RESULTS = {"failed": Outcome.FAILED}
_STATES = {
    "notSet": Outcome.RUNNING,
    "pending": Outcome.RUNNING,
    "failed": Outcome.FAILED,
    "error": Outcome.FAILED,
}


class AzureChecks:
    """`workers.forges.checks.Checks` for one repository of Azure DevOps."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        self._place = place_of(repo_url, api_url)
        self._repository = self._place.repository
        self._project = self._repository.partition("/_apis/")[0]
        self._rest = AzureRest(self._place.organization, token, host, limits)
        self._logs = Logs(self._rest)

    def find(self, ref: str) -> list[Check]:
        """See `Checks`. The builds are those of the branch, and of the pull request from it."""
        with self._rest.translated():
            sha = ref if _SHA.fullmatch(ref) else self._resolve(ref)
            if sha is None:
                return []
            branches, statuses = [] if sha == ref else [f"{HEADS}{ref}"], list(self._statuses(sha))
            if pull := self._find_pull(sha):
                number = int(pull["pullRequestId"])
                branches = [str(pull["sourceRefName"]), f"refs/pull/{number}/merge"]
                statuses += self._statuses_of_pull(number, sha)
            builds = [each for name in branches for each in self._builds(name, sha)]
            known = {each["id"] for each in builds}
            # A build reports its outcome as a status as well.
            others = [each for each in map(self._of_status, statuses) if int(each.log_id or 0) not in known]
            return list({each.name: each for each in (*others, *map(_of_build, builds))}.values())

    def read_log(self, log_id: str) -> str:
        """See `Checks`. It is that of the last task which failed.

        https://learn.microsoft.com/rest/api/azure/devops/build/timeline/get
        """
        path, what = f"{self._project}/_apis/build/builds/{int(log_id)}", f"the log of build {log_id}"
        try:
            with self._rest.translated():
                records = self._rest.get(f"{path}/timeline", what)["records"]
                failed = [each for each in records if each.get("result") == "failed" and each.get("log")]
                # A job has the logs of its tasks as well.
                tasks = [each for each in failed if each["type"] == "Task"] or failed
                last = max(tasks, key=lambda each: each.get("finishTime") or "", default=None)
                number = last and int(last["log"]["id"])
        except EngineError:
            return ""
        return "" if number is None else self._logs.read(f"{path}/logs/{number}", what)

    def _resolve(self, branch: str) -> str | None:
        found = self._rest.get(f"{self._repository}/refs", f"the branch {branch}", filter=f"heads/{branch}")["value"]
        # Branches whose names begin like it are found, too.
        return next((str(each["objectId"]) for each in found if each["name"] == f"{HEADS}{branch}"), None)

    def _find_pull(self, sha: str) -> Any:
        """The open pull request of this repository whose newest commit it is. None: there is none. A fork may have the
        commit, too."""
        path, what = f"{self._repository}/pullrequests", f"the pull requests of {self._place.full_name}"
        for page in range(_MOST_PAGES):
            query: dict[str, str | int] = {
                "searchCriteria.status": "active",
                "$top": _PER_PAGE,
                "$skip": page * _PER_PAGE,
            }
            found = self._rest.get(path, what, **query)["value"]
            for each in found:
                commit = (each.get("lastMergeSourceCommit") or {}).get("commitId")
                if commit == sha and each.get("forkSource") is None:
                    return each
            if len(found) < _PER_PAGE:
                break
        return None

    def _builds(self, branch: str, sha: str) -> Iterator[Any]:
        """The latest build of each pipeline on a branch, if it is of that commit."""
        query: dict[str, str | int] = {
            "branchName": branch,
            "maxBuildsPerDefinition": 1,
            "queryOrder": "queueTimeDescending",
            "$top": _PER_PAGE,
        }
        found = self._rest.get(f"{self._project}/_apis/build/builds", f"the builds of {branch}", **query)["value"]
        return (each for each in found if _commit_of(each) == sha)

    def _statuses(self, sha: str) -> Any:
        """https://learn.microsoft.com/rest/api/azure/devops/git/statuses/list"""
        path = f"{self._repository}/commits/{sha}/statuses"
        return self._rest.get(path, f"the statuses of {sha}", latestOnly="true", top=1_000)["value"]

    def _statuses_of_pull(self, number: int, sha: str) -> Iterator[Any]:
        """Those of the pull request as a whole, and those of the push of that commit, the oldest first.

        https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-statuses/list
        """
        path, what = f"{self._repository}/pullrequests/{number}", f"the statuses of pull request {number}"
        pushes = self._rest.get(f"{path}/iterations", what)["value"]
        mine = {each["id"] for each in pushes if each["sourceRefCommit"]["commitId"] == sha}
        found = self._rest.get(f"{path}/statuses", what)["value"]
        return (
            each for each in sorted(found, key=lambda each: int(each["id"])) if each.get("iterationId") in (None, *mine)
        )

    def _of_status(self, status: Any) -> Check:
        context, url = status["context"], status.get("targetUrl") or ""
        name = "/".join(filter(None, [context.get("genre"), context["name"]]))
        outcome = _STATES.get(status["state"], Outcome.PASSED)
        own = re.search(r"[?&]buildId=(\d{1,9})\b", url) if url.startswith(f"{self._place.organization}/") else None
        return Check(name, outcome, status.get("description") or "", url, own[1] if own else None)


def _of_build(build: Any) -> Check:
    outcome = _RESULTS.get(build.get("result"), Outcome.PASSED) if build["status"] == "completed" else Outcome.RUNNING
    number = int(build["id"])
    return Check(build["definition"]["name"], outcome, "", build["_links"]["web"]["href"], str(number))


def _commit_of(build: Any) -> str:
    """The commit that a build is about."""
    given = json.loads(build.get("parameters") or "{}")
    of_pull = (build.get("triggerInfo") or {}).get("pr.sourceSha") or given.get("system.pullRequest.sourceCommitId")
    return str(of_pull or build["sourceVersion"])
