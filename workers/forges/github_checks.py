"""Check runs, commit statuses and logs of GitHub and GitHub Enterprise: https://docs.github.com/en/rest/checks/runs"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from workers.forges.checks import Check, Outcome
from workers.forges.github_places import parse
from workers.forges.http import Limits
from workers.forges.logs import Logs
from workers.forges.rest import Rest
from workers.job import Host

PERMISSION = (
    'The token needs "Checks", "Commit statuses" and "Actions": read on this repository (or, for a classic token, the '
    "scope `repo`)."
)
# No one has to act on one that was cancelled or left out.
_FAILED = ("failure", "timed_out", "startup_failure")
_STALLED = ("action_required", "stale")
_PER_PAGE, _MOST_PAGES = 100, 3
_JOB = re.compile(r"/actions/runs/\d+/job/(\d+)$")


class GitHubChecks:
    """`workers.forges.checks.Checks` for one repository of GitHub."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        full_name, default_api = parse(repo_url)
        self._name, self._path = full_name, f"/repos/{quote(full_name)}"
        self._rest = Rest("GitHub", (api_url or default_api).rstrip("/"), token, host, limits, permission=PERMISSION)
        self._logs = Logs(self._rest)

    def find(self, ref: str) -> list[Check]:
        """See `Checks`.

        https://docs.github.com/en/rest/checks/runs#list-check-runs-for-a-git-reference and
        https://docs.github.com/en/rest/commits/statuses#get-the-combined-status-for-a-specific-reference
        """
        commit, what = f"{self._path}/commits/{quote(ref)}", f"the checks of {ref} in {self._name}"
        with self._rest.translated():
            runs = [_of_run(each) for each in self._pages(f"{commit}/check-runs", "check_runs", what)]
            return [*runs, *(_of_status(each) for each in self._pages(f"{commit}/status", "statuses", what))]

    def read_log(self, log_id: str) -> str:
        """See `Checks`.

        https://docs.github.com/en/rest/actions/workflow-jobs#download-job-logs-for-a-workflow-run
        """
        path = f"{self._path}/actions/jobs/{log_id}/logs"
        return self._logs.read(path, f"the log of job {log_id} in {self._name}")

    def _pages(self, path: str, key: str, what: str) -> Iterator[Any]:
        for page in range(1, _MOST_PAGES + 1):
            found = self._rest.get(path, what, per_page=_PER_PAGE, page=page)
            yield from found[key]
            if page * _PER_PAGE >= found["total_count"]:
                return


def _of_run(run: Any) -> Check:
    output, place = run["output"], run["details_url"] or ""
    job = _JOB.search(place)
    texts = (output[name] for name in ("title", "summary", "text"))
    return Check(
        str(run["name"]),
        _outcome(run["conclusion"]) if run["status"] == "completed" else Outcome.RUNNING,
        summary="\n".join(text for text in texts if text),
        url=run["html_url"] or place,
        log_id=job[1] if job else None,
    )


def _outcome(conclusion: str) -> Outcome:
    if conclusion in _STALLED:
        return Outcome.STALLED
    return Outcome.FAILED if conclusion in _FAILED else Outcome.PASSED


def _of_status(status: Any) -> Check:
    outcomes = {"success": Outcome.PASSED, "pending": Outcome.RUNNING}
    outcome = outcomes.get(status["state"], Outcome.FAILED)
    return Check(str(status["context"]), outcome, status["description"] or "", status["target_url"] or "")
