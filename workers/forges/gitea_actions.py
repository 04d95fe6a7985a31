"""Logs of jobs of Gitea Actions and Forgejo Actions. Gitea from 1.25 and Forgejo from 16 have them in their APIs.

The status of a job names its page, by numbers that count within the repository and the run, or by ids: that depends on the
version. The API takes ids only, so the run and the job are looked up by the address of their pages.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlsplit

from workers.errors import EngineError
from workers.forges.logs import Logs
from workers.forges.rest import Rest

# The page of a job, without its server.
_JOB = re.compile(r"(/\S+/actions/runs/\d{1,18})/jobs/(\d{1,18})")
_PER_PAGE = 50


class Actions:
    """The jobs of one repository, whose path is `name`."""

    def __init__(self, rest: Rest, name: str) -> None:
        self._rest, self._logs, self._name = rest, Logs(rest), name
        self._path = f"/repos/{quote(name)}/actions"
        self._answers: dict[str, Any] = {}

    def log_id(self, sha: str, status: Any) -> str | None:
        """What `read_log` needs for the log of the job that has reported a status of the commit; None if no job has."""
        page = str(status["target_url"] or "")
        return f"{sha} {page} {status['context']}" if _JOB.fullmatch(page) else None

    def read_log(self, log_id: str) -> str:
        """The last part of the log; empty if the server has it no longer, or is too old to offer it."""
        sha, page, context = log_id.split(" ", 2)
        try:
            with self._rest.translated():
                job = self._find_job(sha, page, context)
        except EngineError:
            return ""
        return self._logs.read(f"{self._path}/jobs/{job}/logs", f"the log of job {job} in {self._name}") if job else ""

    def _find_job(self, sha: str, page: str, context: str) -> int | None:
        """The id of the job."""
        found = _JOB.fullmatch(page)
        assert found is not None
        runs = self._get("runs", f"the runs of {sha}", head_sha=sha)["workflow_runs"] or ()
        run = next((int(each["id"]) for each in runs if urlsplit(each["html_url"]).path == found[1]), None)
        if run is None:
            return None
        jobs = self._get(f"runs/{run}/jobs", f"the jobs of run {run}", status="failure")
        if isinstance(jobs, list):
            # Forgejo gives all of them without their pages, in the order of the numbers there.
            job = jobs[int(found[2])]
            return int(job["id"]) if f" / {job['name']} (" in context else None
        return next((int(each["id"]) for each in jobs["jobs"] or () if urlsplit(each["html_url"]).path == page), None)

    def _get(self, path: str, what: str, **query: str) -> Any:
        """What the API answers, asked once: several jobs may be of the same run."""
        key = f"{path} {query}"
        if key not in self._answers:
            found = self._rest.get(f"{self._path}/{path}", f"{what} in {self._name}", **query, limit=_PER_PAGE)
            self._answers[key] = found
        return self._answers[key]
