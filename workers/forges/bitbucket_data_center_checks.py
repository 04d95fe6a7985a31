"""Build statuses of Bitbucket Data Center: https://developer.atlassian.com/server/bitbucket/how-tos/updating-build-status-for-commits/

Builds run elsewhere, so no logs are read.
"""

from __future__ import annotations

import re
from typing import Any

from workers.errors import EngineError
from workers.forges.bitbucket_data_center_server import Server
from workers.forges.checks import Check, Outcome
from workers.forges.http import Limits
from workers.job import Host

_OUTCOMES = {
    "SUCCESSFUL": Outcome.PASSED,
    # No one has to act on one that was cancelled.
    "CANCELLED": Outcome.PASSED,
    "FAILED": Outcome.FAILED,
    "INPROGRESS": Outcome.RUNNING,
    "UNKNOWN": Outcome.STALLED,
}


class BitbucketDataCenterChecks:
    """`workers.forges.checks.Checks` for one repository of Bitbucket Data Center."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        self._server = Server(repo_url, api_url, token, host, limits)

    def find(self, ref: str) -> list[Check]:
        """See `Checks`. "Get build statuses for commit" is the only list of builds; the newer API gives single ones."""
        with self._server.rest.translated():
            sha = ref if re.fullmatch(r"[0-9a-f]{40}", ref) else self._head(ref)
            path, what = f"/build-status/latest/commits/{sha}", f"the builds of {ref} in {self._server.full_name}"
            self._server.repository()
            own = {"projectKey": self._server.project, "repositorySlug": self._server.slug}
            # A fork may have the commit, too. Builds of older servers belong to no repository.
            found = self._server.pages(path, what, orderBy="OLDEST")
            return [_check(each) for each in found if all(each.get(name, its) == its for name, its in own.items())]

    def read_log(self, log_id: str) -> str:
        """See `Checks`. None can be read."""
        return ""

    def _head(self, branch: str) -> str:
        path, what = f"{self._server.repository()}/commits", f"the branch {branch} of {self._server.full_name}"
        found = self._server.rest.get(path, what, until=f"refs/heads/{branch}", limit=1)["values"]
        if not found:
            raise EngineError("forge_not_found", "publish", f"There is no commit on {what}.")
        return str(found[0]["id"])


def _check(build: Any) -> Check:
    name = str(build.get("name") or build["key"])
    return Check(name, _OUTCOMES[build["state"]], build.get("description") or "", build["url"])
