"""Issues of GitHub and GitHub Enterprise: https://docs.github.com/en/rest/issues/issues"""

from __future__ import annotations

from urllib.parse import quote

from workers.errors import EngineError
from workers.forges.github import parse
from workers.forges.http import Limits
from workers.forges.issues import Issue
from workers.forges.rest import Rest
from workers.job import Host

PERMISSION = (
    'The token needs "Issues: read and write" and "Contents: read and write" on this repository (or, for a classic token, '
    "the scope `repo`)."
)
_PER_PAGE, _MOST_PAGES = 100, 5
_GHOST = {"login": "ghost", "type": "User"}


class GitHubIssues:
    """`workers.forges.issues.Issues` for one repository of GitHub."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        self._name, default_api = parse(repo_url)
        self._rest = Rest("GitHub", (api_url or default_api).rstrip("/"), token, host, limits, permission=PERMISSION)
        self._found: str | None = None

    def get(self, number: int) -> Issue:
        """See `Issues`. https://docs.github.com/en/rest/issues/issues#get-an-issue"""
        what = f"issue {number} of {self._name}"
        with self._rest.translated():
            found = self._rest.get(f"{self._repository()}/issues/{number}", what)
            if "pull_request" in found:
                raise EngineError("forge_not_found", "publish", f"{what} is a pull request.")
            author = found["user"] or _GHOST
            labels = (each if isinstance(each, str) else each["name"] or "" for each in found["labels"])
            return Issue(
                number,
                found["title"],
                found["body"] or "",
                author["login"],
                author["type"] == "Bot",
                found["state"] == "open",
                tuple(labels),
            )

    def find_who_labelled(self, number: int, label: str) -> str | None:
        """See `Issues`. https://docs.github.com/en/rest/issues/events#list-issue-events"""
        actor = _GHOST
        with self._rest.translated():
            for page in range(1, _MOST_PAGES + 1):
                path, what = f"{self._repository()}/issues/{number}/events", f"the events of issue {number}"
                found = self._rest.get(path, what, per_page=_PER_PAGE, page=page)
                for event in found:
                    if event["event"] == "labeled" and event["label"]["name"].lower() == label.lower():
                        actor = event["actor"] or _GHOST
                if len(found) < _PER_PAGE:
                    return None if actor is _GHOST or actor["type"] == "Bot" else actor["login"]
        # The last ones were not read.
        return None

    def acknowledge(self, number: int) -> None:
        """See `Issues`. https://docs.github.com/en/rest/reactions/reactions#create-reaction-for-an-issue"""
        with self._rest.translated():
            path = f"{self._repository()}/issues/{number}/reactions"
            self._rest.call("POST", path, f"a reaction to issue {number} of {self._name}", {"content": "eyes"})

    def _repository(self) -> str:
        """The API's path of the repository by its present name: one that moved is found by its old name for reading."""
        if self._found is None:
            found = self._rest.get(f"/repos/{quote(self._name)}", f"the repository {self._name}")
            self._found = f"/repos/{quote(found['full_name'])}"
        return self._found
