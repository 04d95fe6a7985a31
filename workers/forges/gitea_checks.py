"""Commit statuses of Forgejo and Gitea, which jobs of their Actions report as well: https://docs.gitea.com/api/"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urljoin

from workers.forges.checks import Check, Outcome
from workers.forges.gitea import PERMISSION
from workers.forges.gitea_actions import Actions
from workers.forges.http import Limits
from workers.forges.places import api_and_path
from workers.forges.rest import Rest
from workers.job import Host

_API = "/api/v1"
_PER_PAGE, _MOST_PAGES = 50, 6
_OUTCOMES = {"failure": Outcome.FAILED, "error": Outcome.FAILED, "pending": Outcome.RUNNING}


class GiteaChecks:
    """`workers.forges.checks.Checks` for one repository of Forgejo or Gitea."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        api, self._path = api_and_path(repo_url, api_url, _API)
        self._server = api.removesuffix(_API)
        self._rest = Rest("Forgejo or Gitea", api, token, host, limits, permission=PERMISSION)
        self._actions = Actions(self._rest, self._path)

    def find(self, ref: str) -> list[Check]:
        """See `Checks`. "Get a commit's combined status": the latest of each name."""
        with self._rest.translated():
            return [self._check(sha, each) for sha, each in self._statuses(ref)]

    def read_log(self, log_id: str) -> str:
        """See `Checks`."""
        return self._actions.read_log(log_id)

    def _statuses(self, ref: str) -> Iterator[tuple[str, Any]]:
        """The statuses, each with its commit."""
        path, what = f"/repos/{quote(self._path)}/commits/{quote(ref, safe='')}/status", f"the checks of {ref}"
        for page in range(1, _MOST_PAGES + 1):
            found = self._rest.get(path, f"{what} in {self._path}", limit=_PER_PAGE, page=page)
            # A page beyond the last is null, and a server may give fewer than it was asked for.
            if not found["statuses"]:
                return
            yield from ((str(found["sha"]), each) for each in found["statuses"])

    def _check(self, sha: str, status: Any) -> Check:
        outcome = _OUTCOMES.get(status["status"], Outcome.PASSED)
        # Pages of Actions are named without their server.
        url = urljoin(f"{self._server}/", status["target_url"]) if status["target_url"] else ""
        log_id = self._actions.log_id(sha, status)
        return Check(str(status["context"]), outcome, status["description"] or "", url, log_id)
